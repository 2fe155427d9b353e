//! Who is told outside the cluster: a webhook of every change of a source, and people of every reload
//! (Reloader, spec section B.9).
//!
//! Their addresses are secrets: no error and no log has one.

use std::error::Error;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Proxy, Url};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::reload::Source;
use crate::settings::reload::Reload;

/// How many alerts wait at most. More are dropped: the events of the workloads say the same.
const QUEUE: usize = 256;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a webhook is told of every change.
const CHANGED: &str = r#"{"webhook":"update successful"}"#;

/// Where changes and reloads are told. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Sinks {
    webhook: Option<To>,
    alerts: Option<mpsc::Sender<String>>,
}

/// The worker that sends alerts.
#[derive(Debug)]
pub struct Sender(Option<JoinHandle<()>>);

/// A workload was reloaded for a source.
#[derive(Clone, Copy, Debug)]
pub struct Reloaded<'a> {
    /// The source.
    pub source: Source,
    /// Its name.
    pub name: &'a str,
    /// The namespace of both.
    pub namespace: &'a str,
    /// The kind of the workload.
    pub kind: &'a str,
    /// Its name.
    pub workload: &'a str,
}

/// Makes what the settings ask for, and starts to send.
///
/// # Errors
///
/// If an address is none, in words that do not show it.
pub fn start(settings: &Reload) -> Result<(Sinks, Sender), String> {
    let webhook = settings.webhook_url.expose().map(|it| To::new("--webhook-url", it, None)).transpose()?;
    let proxy = settings.alert_proxy.expose();
    let url = settings.alert_url.expose().filter(|_| settings.alerts);
    let Some(to) = url.map(|it| To::new("ALERT_WEBHOOK_URL", it, proxy)).transpose()? else {
        return Ok((Sinks { webhook, alerts: None }, Sender(None)));
    };
    let (form, info) = (Form::of(&settings.alert_sink), settings.alert_info.clone());
    let (alerts, mut told) = mpsc::channel::<String>(QUEUE);
    let task = tokio::spawn(async move {
        while let Some(text) = told.recv().await {
            let text = if info.is_empty() { text } else { format!("{info} : {text}") };
            let (kind, body) = form.body(text);
            // As the original: an alert is told once, whatever comes of it.
            if let Err(why) = to.post(kind, body).await {
                tracing::warn!("an alert could not be sent: {why}");
            }
        }
    });
    Ok((Sinks { webhook, alerts: Some(alerts) }, Sender(Some(task))))
}

impl Sinks {
    /// True if changes are told to a webhook: then nothing is reloaded.
    pub fn has_webhook(&self) -> bool {
        self.webhook.is_some()
    }

    /// Tells the webhook, if there is one, that a source changed. Whatever it answers will do.
    ///
    /// # Errors
    ///
    /// If it gives no answer: it has to be told again.
    pub async fn changed(&self) -> Result<(), String> {
        match &self.webhook {
            Some(to) => to.post("application/json", CHANGED.to_owned()).await.map(drop),
            None => Ok(()),
        }
    }

    /// Tells people, if any want to know, that a workload was reloaded. Returns at once.
    pub fn reloaded(&self, it: &Reloaded<'_>) {
        let Some(alerts) = &self.alerts else { return };
        if alerts.try_send(text(it)).is_err() {
            tracing::warn!("an alert was dropped: too many are waiting");
        }
    }
}

impl Sender {
    /// Sends what is waiting, for at most this long, and ends. Everybody who tells has gone before.
    pub async fn finish(self, patience: Duration) {
        let Some(mut task) = self.0 else { return };
        if tokio::time::timeout(patience, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// In the original's words (spec section B.9).
fn text(it: &Reloaded<'_>) -> String {
    let Reloaded { source, name, namespace, kind, workload } = it;
    format!(
        "Reloader detected changes in *{name}* of type *{}* in namespace *{namespace}*. Hence reloaded *{workload}* \
         of type *{kind}* in namespace *{namespace}*",
        source.word()
    )
}

/// How a reader of alerts wants them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Slack,
    /// Teams and Google Chat.
    Text,
    Raw,
}

impl Form {
    fn of(sink: &str) -> Self {
        match sink {
            "slack" => Self::Slack,
            "teams" | "gchat" => Self::Text,
            _ => Self::Raw,
        }
    }

    /// The type and the body of a message.
    fn body(self, text: String) -> (&'static str, String) {
        let json = |it: Value| ("application/json", it.to_string());
        match self {
            Self::Slack => {
                json(json!({ "attachments": [{ "text": text, "color": "good", "author_name": "Reloader" }] }))
            }
            Self::Text => json(json!({ "text": text })),
            Self::Raw => ("text/plain", text.replace('*', "")),
        }
    }
}

/// Where to, and how to get there. Not shown.
#[derive(Clone)]
struct To {
    url: Url,
    client: Client,
}

impl std::fmt::Debug for To {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("To(..)")
    }
}

impl To {
    fn new(name: &str, url: &str, proxy: Option<&str>) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("{name} is no address: {error}"))?;
        // Another part of the program may have chosen the same before.
        _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .tls_backend_rustls()
            .user_agent(concat!("leafseal/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE);
        if url.scheme() == "http" {
            // Loading the certificates of the system takes time and memory.
            builder = builder.tls_certs_only([]);
        }
        if let Some(proxy) = proxy {
            let proxy = Proxy::all(proxy).map_err(|_| "ALERT_WEBHOOK_PROXY is no address of a proxy".to_owned())?;
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| format!("{name} cannot be used: {}", cause(&error)))?;
        Ok(Self { url, client })
    }

    /// Sends it; the status of the answer.
    async fn post(&self, kind: &str, body: String) -> Result<u16, String> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, kind).body(body);
        let answer = request.send().await.map_err(|error| cause(&error))?;
        let status = answer.status();
        if !status.is_success() {
            tracing::warn!(status = status.as_u16(), "who was told of a change or reload did not like it");
        }
        Ok(status.as_u16())
    }
}

/// What lies at the bottom of an error: all above it may name the address.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("there is no answer within {PATIENCE:?}");
    }
    let mut lowest: Option<&dyn Error> = error.source();
    while let Some(lower) = lowest.and_then(Error::source) {
        lowest = Some(lower);
    }
    lowest.map_or_else(|| "it cannot be reached".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::settings::{Settings, Start};

    const RELOADED: Reloaded<'_> =
        Reloaded { source: Source::Secret, name: "db", namespace: "shop", kind: "Deployment", workload: "web" };
    const TEXT: &str = "Reloader detected changes in *db* of type *SECRET* in namespace *shop*. Hence reloaded *web* \
                        of type *Deployment* in namespace *shop*";

    /// A server that answers `status` once; the request comes out of the channel.
    async fn serve(status: u16) -> (SocketAddr, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let address = listener.local_addr().expect("it has an address");
        let (tell, told) = mpsc::channel(4);
        tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.expect("somebody asks");
                let (mut request, mut part) = (Vec::new(), [0; 4096]);
                let whole = |it: &[u8]| {
                    let text = String::from_utf8_lossy(it).into_owned();
                    let (head, body) = text.split_once("\r\n\r\n")?;
                    let length = head.lines().find_map(|it| it.strip_prefix("content-length: "))?;
                    (body.len() >= length.parse().ok()?).then_some(text)
                };
                let text = loop {
                    let read = connection.read(&mut part).await.expect("there is a request");
                    request.extend_from_slice(&part[..read]);
                    if let Some(text) = whole(&request) {
                        break text;
                    }
                };
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                connection.write_all(answer.as_bytes()).await.expect("it is read");
                drop(tell.send(text).await);
            }
        });
        (address, told)
    }

    fn settings(args: &[String]) -> Reload {
        let args = std::iter::once("o".to_owned()).chain(args.iter().cloned()).collect();
        let Start { settings, .. } = Settings::read(args, Vec::new()).expect("these are settings");
        settings.reload
    }

    #[tokio::test]
    async fn a_webhook_is_told_of_every_change_and_may_answer_anything() {
        let (address, mut told) = serve(500).await;
        let settings = settings(&[format!("--webhook-url=http://{address}/hooks/secret?x=y")]);
        let (sinks, _) = start(&settings).expect("this is an address");
        assert!(sinks.has_webhook());
        sinks.changed().await.expect("any answer will do");
        let request = told.recv().await.expect("it was told");
        assert!(request.starts_with("POST /hooks/secret?x=y HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n{\"webhook\":\"update successful\"}"), "{request}");
        // Without one nobody is told.
        Sinks::default().changed().await.expect("nobody can fail");
    }

    #[tokio::test]
    async fn who_does_not_answer_has_to_be_told_again_and_is_not_named() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.expect("there is a port").local_addr().expect("it has one");
        let settings = settings(&[format!("--webhook-url=http://{nobody}/hooks/secret")]);
        let (sinks, _) = start(&settings).expect("this is an address");
        let why = sinks.changed().await.expect_err("nobody is there");
        assert!(!why.contains("hooks") && !why.contains(&nobody.to_string()), "{why}");
        assert!(why.contains("refused"), "{why}");
        assert!(!format!("{sinks:?}").contains("hooks"));
    }

    #[tokio::test]
    async fn alerts_are_told_in_the_form_that_their_readers_want() {
        let raw = TEXT.replace('*', "");
        let slack = json!({ "attachments": [{ "text": TEXT, "color": "good", "author_name": "Reloader" }] });
        for (sink, info, kind, body) in [
            ("slack", "", "application/json", slack.to_string()),
            ("teams", "", "application/json", json!({ "text": TEXT }).to_string()),
            ("gchat", "prod", "application/json", json!({ "text": format!("prod : {TEXT}") }).to_string()),
            ("", "", "text/plain", raw.clone()),
            ("raw", "prod", "text/plain", format!("prod : {raw}")),
        ] {
            let (address, mut told) = serve(200).await;
            let settings = settings(&[
                format!("--alert-url=http://{address}/alerts"),
                format!("--alert-sink={sink}"),
                format!("--alert-info={info}"),
                "--alert-on-reload=true".to_owned(),
            ]);
            let (sinks, sender) = start(&settings).expect("this is an address");
            sinks.reloaded(&RELOADED);
            drop(sinks);
            sender.finish(PATIENCE).await;
            let request = told.recv().await.expect("it was told");
            assert!(request.contains(&format!("content-type: {kind}\r\n")), "{request}");
            assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{sink}: {request}");
        }
    }

    #[tokio::test]
    async fn alerts_go_through_a_proxy_and_only_if_they_are_wanted() {
        let (proxy, mut told) = serve(200).await;
        let mut args = vec![
            "--alert-url=http://alerts.example.com/in".to_owned(),
            format!("--alert-proxy=http://{proxy}"),
            "--alert-sink=teams".to_owned(),
        ];
        let (sinks, sender) = start(&settings(&args)).expect("this is an address");
        assert!(sinks.alerts.is_none() && sender.0.is_none());
        args.push("--alert-on-reload=true".to_owned());
        let (sinks, sender) = start(&settings(&args)).expect("this is an address");
        sinks.reloaded(&RELOADED);
        drop(sinks);
        sender.finish(PATIENCE).await;
        let request = told.recv().await.expect("it was told");
        assert!(request.starts_with("POST http://alerts.example.com/in HTTP/1.1\r\n"), "{request}");
    }
}
