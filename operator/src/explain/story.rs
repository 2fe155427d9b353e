//! What is told of a workload, as text for people. Never a value, and no digest of one.

use std::fmt;

use jiff::Timestamp;

use crate::reload::{
    By, Consumer, Content, DEPENDS_ON, Hit, Keys, LAST_RELOADED_FROM, Marks, No, Rules, Source, Strategy, marker_name,
};
use crate::rollout::{How, Workload};

/// How many happenings are told.
const TOLD: usize = 5;

/// All that is known of a workload.
#[derive(Debug)]
pub struct Story {
    /// Its kind.
    pub kind: &'static Workload,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What holds for every workload.
    pub rules: Rules,
    /// The workload; `None` if it asks for nothing.
    pub consumer: Option<Consumer>,
    /// What it refers to or names.
    pub parts: Vec<Part>,
    /// VaultStaticSecrets that name it, each with the Secret that it keeps.
    pub targets_of: Vec<(String, String)>,
    /// What is known of restarts, latest first; or why nothing is.
    pub happenings: Result<Vec<Happening>, String>,
    /// Its namespace is left alone.
    pub is_ignored: bool,
    /// Changes go to a webhook, and restart nothing.
    pub has_webhook: bool,
    /// Nothing restarts: it is only told.
    pub is_dry: bool,
}

/// One source.
#[derive(Debug)]
pub struct Part {
    /// What it is.
    pub source: Source,
    /// Its name.
    pub name: String,
    /// The container that refers to it.
    pub container: Option<String>,
    /// What it is now.
    pub now: Now,
    /// Whether the workload reloads for it; `None` if it asks for nothing.
    pub wants: Option<Result<Hit, No>>,
    /// The workload has not seen it as it is now, and is to be reloaded for that.
    pub is_owed: bool,
    /// The workload's own memory has it.
    pub is_remembered: bool,
    /// A marker on its pods has it.
    pub is_marked: bool,
}

/// A source as it is now.
#[derive(Debug)]
pub enum Now {
    /// It is there.
    There(Marks, Content),
    /// It is not there.
    Gone,
    /// It cannot be read, for this reason.
    Unread(String),
}

/// Something that happened to a workload.
#[derive(Debug)]
pub struct Happening {
    /// When; `None` if nobody wrote that down.
    pub at: Option<Timestamp>,
    /// What.
    pub what: String,
}

impl Story {
    /// True if the workload has to be restarted for something that changed.
    pub fn is_owed(&self) -> bool {
        self.parts.iter().any(|it| it.is_owed)
    }

    fn heading(&self) -> String {
        let Self { kind, namespace, name, consumer, .. } = self;
        let asks = match consumer {
            Some(_) => "asks for reloads",
            None => "asks for no reload",
        };
        format!("{} {namespace}/{name} {asks}", kind.kind)
    }

    /// What keeps it from being reloaded as its annotations say.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |holds: bool, text: &str| {
            if holds {
                notes.push(text.to_owned());
            }
        };
        note(self.is_ignored, "its namespace is left alone (--namespaces-to-ignore)");
        note(self.has_webhook, "changes go to the webhook, and restart nothing (--webhook-url)");
        note(self.is_dry, "nothing is restarted, only told (--dry-run)");
        if let Some(consumer) = &self.consumer {
            note(consumer.is_paused_by_us(), "a reload paused its rollouts");
            note(consumer.is_paused && !consumer.is_paused_by_us(), "somebody paused its rollouts (spec.paused)");
            note(consumer.is_suspended, "it is suspended: nothing is started");
            note(consumer.is_on_delete, "its pods are made new only when somebody deletes them (OnDelete)");
            notes.extend(consumer.complaints.iter().cloned());
            let first: Vec<_> =
                consumer.after.iter().map(|(kind, name)| format!("{}/{name}", kind.to_lowercase())).collect();
            if !first.is_empty() {
                notes.push(format!("where they restart too, it waits for {} ({DEPENDS_ON})", first.join(", ")));
            }
        }
        notes
    }

    fn outcome(&self, consumer: &Consumer, part: &Part, hit: &Hit) -> String {
        let (name, source) = (&part.name, part.source);
        let place = hit.container.as_ref().map_or_else(String::new, |it| format!(" on container {it}"));
        let by_template = match self.rules.strategy {
            Strategy::EnvVars => format!("restarts: variable {}{place}", marker_name(source, name)),
            Strategy::Annotations => format!("restarts: annotation {LAST_RELOADED_FROM} on its pods"),
        };
        match self.kind.how {
            How::Make if consumer.is_suspended => "nothing: it is suspended".to_owned(),
            How::Make => "a Job of it is started".to_owned(),
            How::Remake => "is deleted and made anew, with the same name".to_owned(),
            How::RestartAt if consumer.restarts_at => "restarts: spec.restartAt".to_owned(),
            How::Template | How::RestartAt => by_template,
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{}", self.heading())?;
        for note in self.notes() {
            writeln!(to, "  note: {note}")?;
        }
        for part in &self.parts {
            writeln!(to, "\n{} {}", part.source.kind(), part.name)?;
            let by =
                part.container.as_ref().map_or("nothing: it is only named".to_owned(), |it| format!("container {it}"));
            writeln!(to, "  used by      {by}")?;
            let decides = match (&part.wants, &self.consumer) {
                (Some(Ok(hit)), _) => decided(hit.by, part.source, &self.rules.keys),
                (Some(Err(no)), _) => no.to_string(),
                (None, _) => "no annotation asks for it".to_owned(),
            };
            writeln!(to, "  decided by   {decides}")?;
            let is_wanted = matches!(part.wants, Some(Ok(_)));
            if is_wanted || !matches!(part.now, Now::There(..)) {
                writeln!(to, "  last seen    {}", part.seen())?;
            }
            let outcome = match (&self.consumer, &part.wants) {
                (Some(consumer), Some(Ok(hit))) => self.outcome(consumer, part, hit),
                _ => "nothing".to_owned(),
            };
            writeln!(to, "  on a change  {outcome}")?;
        }
        if !self.targets_of.is_empty() {
            writeln!(to)?;
        }
        for (object, secret) in &self.targets_of {
            writeln!(to, "VaultStaticSecret {object} restarts it when the content of Secret {secret} changes")?;
        }
        match &self.happenings {
            Err(why) => writeln!(to, "\nWhy it was last restarted is not known: {why}"),
            Ok(all) if all.is_empty() => writeln!(to, "\nNothing is known of restarts: events go after an hour"),
            Ok(all) => {
                writeln!(to, "\nRestarts, latest first")?;
                for Happening { at, what } in all.iter().take(TOLD) {
                    let at = at.map_or_else(|| "some time".to_owned(), |it| format!("{it:.0}"));
                    writeln!(to, "  {at}  {what}")?;
                }
                Ok(())
            }
        }
    }
}

impl Part {
    fn seen(&self) -> String {
        let by = match (self.is_remembered, self.is_marked) {
            (true, _) => "its memory",
            (false, true) => "the mark on its pods",
            (false, false) => "nothing",
        };
        let is_known = self.is_remembered || self.is_marked;
        match &self.now {
            Now::Unread(why) => format!("cannot be told: {why}"),
            Now::Gone if is_known => format!("as it was, by {by}; it is gone, and that restarts nothing"),
            Now::Gone => "never: it is not there".to_owned(),
            Now::There(..) if self.is_owed => format!("as it was before, by {by}: a restart is due"),
            Now::There(..) if is_known => format!("as it is now, by {by}"),
            Now::There(..) => "never: the operator has not looked yet, or may not write it down".to_owned(),
        }
    }
}

/// What says that a workload reloads.
fn decided(by: By, source: Source, keys: &Keys) -> String {
    match by {
        By::List => format!("{}: a list that names it", keys.of(source).reload),
        By::Search => format!("{}: it carries {}", keys.search, keys.matches),
        By::Auto => format!("{}: all that it refers to", keys.auto),
        By::TypedAuto => format!("{}: all {}s that it refers to", keys.of(source).auto, source.kind()),
        By::Setting => "--auto-reload-all: the workload says nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Data;
    use crate::reload::{Held, Key};
    use crate::rollout::WORKLOADS;

    fn consumer(rules: &Rules) -> Consumer {
        let held: Held = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "namespace": "shop", "annotations": {"reloader.stakater.com/auto": "true"}},
            "spec": {"paused": true, "template": {"spec": {"containers": [
                {"name": "app", "envFrom": [{"secretRef": {"name": "db"}}]},
            ]}}},
        }))
        .expect("it is a workload");
        Consumer::of(&WORKLOADS[0], held, rules).expect("it asks for reloads")
    }

    fn part(consumer: &Consumer, rules: &Rules, is_owed: bool, now: Now) -> Part {
        Part {
            source: Source::Secret,
            name: "db".to_owned(),
            container: Some("app".to_owned()),
            wants: Some(consumer.wants(rules, Source::Secret, "db", Marks::default())),
            is_owed,
            is_remembered: true,
            is_marked: false,
            now,
        }
    }

    fn story(is_owed: bool, now: Now) -> Story {
        let rules = Rules::default();
        let consumer = consumer(&rules);
        Story {
            kind: &WORKLOADS[0],
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            parts: vec![part(&consumer, &rules, is_owed, now)],
            consumer: Some(consumer),
            rules,
            targets_of: vec![("db".to_owned(), "db-content".to_owned())],
            happenings: Ok(vec![Happening { at: Some(Timestamp::UNIX_EPOCH), what: "Reloaded: for db".to_owned() }]),
            is_ignored: false,
            has_webhook: false,
            is_dry: false,
        }
    }

    fn there() -> Now {
        Now::There(Marks::default(), Content::of(Data::default(), &Key::shared()))
    }

    #[test]
    fn a_workload_is_explained_in_plain_words() {
        let told = story(false, there());
        assert!(!told.is_owed());
        let wanted = "\
Deployment shop/web asks for reloads
  note: somebody paused its rollouts (spec.paused)

Secret db
  used by      container app
  decided by   reloader.stakater.com/auto: all that it refers to
  last seen    as it is now, by its memory
  on a change  restarts: variable STAKATER_DB_SECRET on container app

VaultStaticSecret db restarts it when the content of Secret db-content changes

Restarts, latest first
  1970-01-01T00:00:00Z  Reloaded: for db
";
        assert_eq!(told.to_string(), wanted);
    }

    #[test]
    fn what_is_owed_gone_or_closed_is_said() {
        for (is_owed, now, part) in [
            (true, there(), "as it was before, by its memory: a restart is due"),
            (false, Now::Gone, "it is gone, and that restarts nothing"),
            (false, Now::Unread("secrets is forbidden".to_owned()), "cannot be told: secrets is forbidden"),
        ] {
            let told = story(is_owed, now);
            assert_eq!(told.is_owed(), is_owed);
            assert!(told.to_string().contains(part), "{told}");
        }
        let nothing = Story { consumer: None, parts: Vec::new(), ..story(false, Now::Gone) };
        assert!(nothing.to_string().starts_with("Deployment shop/web asks for no reload\n"), "{nothing}");
    }
}
