//! Who is asked in which order, what is put together, what is said if that fails.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use pollster::block_on;

use super::*;
use crate::cipher::{Cipher, Nonces};
use crate::edge::Timestamp;
use crate::keyservice::{Answer, KeyError};
use crate::scope::Scope;
use crate::tree::Wire;

/// Who was asked, in order.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn add(&self, what: &str) {
        self.0.lock().expect("no test panics here").push(what.to_owned());
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().expect("no test panics here")).join(" ")
    }
}

/// Knows one kind. What is wrapped stands in `enc` in hexadecimal; `late` answers only after so many
/// polls, and `never` never.
struct Fake<'l> {
    name: &'static str,
    kind: &'static str,
    reach: Reach,
    log: &'l Log,
}

impl<'l> Fake<'l> {
    fn new(name: &'static str, kind: &'static str, reach: Reach, log: &'l Log) -> Self {
        Self { name, kind, reach, log }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = (0..hex.len()).step_by(2);
    digits.map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

/// Ends after so many polls, each of which asks for another one.
struct Polls(usize);

impl Future for Polls {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl KeyService for Fake<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn reach(&self) -> Reach {
        self.reach
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, part: &'a KeyPart) -> Answer<'a, String> {
        let refused = key.field("id") == "bad";
        let answer = if refused { Err(KeyError("permission denied".to_owned())) } else { Ok(hex(part.expose())) };
        Box::pin(async move { (key.kind == self.kind).then_some(answer) })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> Answer<'a, KeyPart> {
        let enc = key.enc.as_deref().unwrap_or_default();
        let (late, enc) = match enc.split_once(':') {
            Some(("never", enc)) => (usize::MAX, enc),
            Some((polls, enc)) => (polls.parse().expect("a number"), enc),
            None => (0, enc),
        };
        Box::pin(async move {
            if key.kind != self.kind {
                return None;
            }
            self.log.add(&format!("{}:{}", self.name, key.field("id")));
            Polls(late).await;
            let part = bytes(enc).and_then(|it| KeyPart::from_bytes(&it));
            Some(part.ok_or_else(|| KeyError("not mine\nlooked here".to_owned())))
        })
    }
}

/// Counts up: tests need no more.
struct Counting(u8);

impl Rng for Counting {
    fn fill(&mut self, buf: &mut [u8]) {
        for byte in buf {
            self.0 = self.0.wrapping_mul(5).wrapping_add(3);
            *byte = self.0;
        }
    }
}

fn data_key() -> DataKey {
    DataKey::from_bytes(&[7; 32]).expect("32 bytes")
}

/// `kind id enc`, with `-` for no `enc`.
fn key(text: &str) -> MasterKey {
    let mut words = text.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (kind, id, enc) = (word(), word(), word());
    let enc = Some(enc).filter(|it| !it.is_empty());
    MasterKey { kind, fields: vec![("id".to_owned(), Wire::text(&id))], enc }
}

fn metadata(groups: &[&[String]], threshold: usize) -> Metadata {
    let groups = groups.iter().map(|it| KeyGroup(it.iter().map(|it| key(it)).collect())).collect();
    let now = Timestamp::from_utc_seconds("2026-01-02T03:04:05Z");
    Metadata::new(groups, threshold, Scope::default(), now)
}

/// The metadata's MAC, sealed with `key`.
fn with_mac(mut metadata: Metadata, key: &DataKey) -> Metadata {
    let mut rng = Counting(1);
    let aad = metadata.last_modified.as_str().to_owned();
    metadata.mac = Some(Cipher::new(key).seal("str", b"00", &aad, &mut Nonces::new(&mut rng)));
    metadata
}

/// The parts of the data key of which `threshold` are needed, in hexadecimal.
fn parts_of(key: &DataKey, threshold: usize, groups: usize, seed: u8) -> Vec<String> {
    let parts = shamir::split(key.expose(), groups, threshold, &mut Counting(seed)).expect("the numbers fit");
    parts.iter().map(|it| hex(it)).collect()
}

fn order(kinds: &[&str]) -> Vec<String> {
    kinds.iter().map(|&it| it.to_owned()).collect()
}

#[test]
fn keys_of_a_group_are_tried_in_order_until_one_works() {
    let whole = hex(data_key().expose());
    let keys: Vec<_> = ["x a -", "age b -", "x c #", "pgp d -", "age e -", "x f -"]
        .map(|it| it.replace('-', "00").replace('#', &whole))
        .to_vec();
    let log = Log::default();
    let services =
        [("x", "x"), ("age", "age"), ("pgp", "pgp")].map(|(name, it)| Fake::new(name, it, Reach::Local, &log));
    for (kinds, expected) in [
        (&[][..], "age:b age:e pgp:d x:a x:c"),
        (&["x"], "x:a x:c"),
        (&["pgp", "x"], "pgp:d x:a x:c"),
        (&["bogus"], "age:b age:e pgp:d x:a x:c"),
    ] {
        let keyring = Keyring::new(services.iter().map(|it| it as _).collect()).with_order(order(kinds));
        let key = block_on(keyring.unwrap(&metadata(&[&keys], 0))).expect("c works");
        assert_eq!((key.expose(), log.take().as_str()), (data_key().expose(), expected), "{kinds:?}");
    }
}

/// Three groups, two of them needed. Each column is a group, with its keys: those at hand (`l`), in
/// the network (`n`), those that prompt (`p`). A capital letter works.
#[test]
fn nobody_waits_for_a_key_that_is_not_needed() {
    let log = Log::default();
    let local = Fake::new("l", "l", Reach::Local, &log);
    let network = Fake::new("n", "n", Reach::Network, &log);
    let prompt = Fake::new("p", "p", Reach::Prompt, &log);
    let parts = parts_of(&data_key(), 2, 3, 1);
    for (groups, kinds, expected) in [
        // What is at hand is all taken.
        (["L", "L", "L"], &[][..], "l:0 l:1 l:2"),
        (["pL", "nL", "pn"], &[], "l:0 l:1"),
        (["P", "L", "L"], &[], "l:1 l:2"),
        (["l", "lP", "LP"], &[], "l:0 l:1 l:2 p:1"),
        // The network is asked together, and before anybody is prompted.
        (["N", "N", "P"], &[], "n:0 n:1"),
        (["PN", "LN", "N"], &[], "l:1 n:0"),
        (["n", "LP", "P"], &[], "l:1 n:0 p:2"),
        // One at a time, until it is enough.
        (["P", "P", "P"], &[], "p:0 p:1"),
        (["pP", "L", "P"], &[], "l:1 p:0 p:0"),
        // Whoever names an order means it.
        (["PL", "L", "L"], &["p"], "p:0 l:1 l:2"),
        (["PL", "LP", "P"], &["p", "l"], "p:0 p:1"),
        (["PL", "LP", "P"], &["n", "l"], "l:0 l:1"),
    ] {
        let keys = groups.iter().enumerate().map(|(n, group)| -> Vec<String> {
            let enc = |works: bool| if works { parts[n].as_str() } else { "00" };
            group.chars().map(|it| format!("{} {n} {}", it.to_lowercase(), enc(it.is_uppercase()))).collect()
        });
        let keys: Vec<_> = keys.collect();
        let keys: Vec<&[String]> = keys.iter().map(Vec::as_slice).collect();
        let keyring = Keyring::new(vec![&prompt, &network, &local]).with_order(order(kinds));
        let key = block_on(keyring.unwrap(&metadata(&keys, 2))).unwrap_or_else(|it| panic!("{groups:?}: {it}"));
        assert_eq!((key.expose(), log.take().as_str()), (data_key().expose(), expected), "{groups:?} {kinds:?}");
    }
}

/// Passes after so many polls, and counts how often it was begun.
struct After(usize, AtomicUsize);

impl Deadline for After {
    fn passed(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Box::pin(Polls(self.0))
    }
}

#[test]
fn the_network_is_asked_together_and_not_for_ever() {
    let log = Log::default();
    let network = Fake::new("n", "n", Reach::Network, &log);
    let prompt = Fake::new("p", "p", Reach::Prompt, &log);
    let whole = hex(data_key().expose());
    let check = |keys: &[&str], deadline: usize, expected: &str, begun: usize| {
        let keys: Vec<_> = keys.iter().map(|it| it.replace('#', &whole)).collect();
        let deadline = After(deadline, AtomicUsize::default());
        let keyring = Keyring::new(vec![&network, &prompt]).with_deadline(&deadline);
        let result = block_on(keyring.unwrap(&metadata(&[&keys], 0)));
        let text = result.map_or_else(|it| it.to_string(), |_| "opened".to_owned());
        assert_eq!(text.replace("no master key could unwrap the data key\n  group 0:\n", ""), expected, "{keys:?}");
        assert_eq!(deadline.1.load(Ordering::Relaxed), begun, "{keys:?}");
    };
    // The first to answer, whatever its place: the others are let go.
    check(&["n a 9:#", "n b never:#", "n c 3:#"], 99, "opened", 1);
    assert_eq!(log.take(), "n:a n:b n:c");
    check(&["n a never:#", "p b #"], 20, "opened", 1);
    assert_eq!(log.take(), "n:a p:b");
    check(&["n a never:#", "n b 1:00"], 20, "    n a: no answer in time\n    n b: not mine", 1);
    check(&["p b #"], 20, "opened", 0);
    // No more than sixteen at a time.
    log.take();
    let many: Vec<String> =
        (0..40).map(|n| format!("n {n} {}:00", 20 + n % 5)).chain(["n last #".to_owned()]).collect();
    check(&many.iter().map(String::as_str).collect::<Vec<_>>(), usize::MAX, "opened", 1);
    assert_eq!(log.take().split(' ').count(), 41);
    let stuck: Vec<String> = (0..17).map(|n| format!("n {n} never:00")).collect();
    check(
        &stuck.iter().map(String::as_str).collect::<Vec<_>>(),
        20,
        &(0..17)
            .map(|n| {
                format!("    n {n}: {}", if n < 16 { "no answer in time" } else { "not asked: others took too long" })
            })
            .collect::<Vec<_>>()
            .join("\n"),
        1,
    );
}

#[test]
fn as_many_groups_open_a_file_as_it_asks_for() {
    let log = Log::default();
    let local = Fake::new("l", "l", Reach::Local, &log);
    let keyring = Keyring::new(vec![&local]);
    let two = ["l a", "l b"].map(str::to_owned);
    for groups in 2..=5 {
        for threshold in 2..=groups {
            let mut wrapped = metadata(&vec![&two[..]; groups], threshold);
            block_on(keyring.wrap(&data_key(), &mut wrapped, &mut Counting(9))).expect("the numbers fit");
            for lost in 0..1usize << groups {
                let mut some = wrapped.clone();
                for (n, group) in some.groups.iter_mut().enumerate() {
                    group.0[0].enc = Some("00".to_owned());
                    if lost >> n & 1 == 1 {
                        group.0[1].enc = None;
                    }
                }
                let left = groups - lost.count_ones() as usize;
                match block_on(keyring.unwrap(&some)) {
                    Ok(key) => assert!(left >= threshold && key.expose() == data_key().expose()),
                    Err(report) => {
                        assert!(left < threshold);
                        assert_eq!((report.opened(), report.needed()), (left, threshold));
                        let missing = report.groups.iter().map(|it| !it.opened);
                        assert!(missing.eq((0..groups).map(|n| lost >> n & 1 == 1)), "each missing part is named");
                    }
                }
            }
        }
    }
}

#[test]
fn a_lost_threshold_is_told_by_the_mac() {
    let log = Log::default();
    let local = Fake::new("l", "l", Reach::Local, &log);
    let prompt = Fake::new("p", "p", Reach::Prompt, &log);
    let keyring = Keyring::new(vec![&local, &prompt]);
    let parts = parts_of(&data_key(), 2, 3, 1);
    let groups = |first: &str| -> Vec<Vec<String>> {
        vec![
            vec![format!("{first} 0 {}", parts[0])],
            vec![format!("l 1 {}", parts[1])],
            vec![format!("p 2 {}", parts[2])],
        ]
    };
    let unwrap = |groups: Vec<Vec<String>>, mac: bool| {
        let groups: Vec<&[String]> = groups.iter().map(Vec::as_slice).collect();
        let plain = metadata(&groups, 0);
        let key = block_on(keyring.unwrap(&if mac { with_mac(plain, &data_key()) } else { plain }));
        (key.map(|it| it.expose().to_vec()).map_err(|it| it.to_string()), log.take())
    };
    let right = Ok(data_key().expose().to_vec());
    assert_eq!(unwrap(groups("l"), true), (right.clone(), "l:0 l:1".to_owned()));
    assert_eq!(unwrap(groups("l"), false), (right.clone(), "l:0 l:1 p:2".to_owned()));
    assert_eq!(unwrap(groups("z"), true), (right, "l:1 p:2".to_owned()));
    let text = "1 of 3 key groups could be opened, and 3 are needed\n  group 0:\n    z 0: no key service for z\n  \
                group 1: opened\n  group 2:\n    q 2: no key service for q";
    let mut one = groups("z");
    one[2] = vec!["q 2 00".to_owned()];
    assert_eq!(unwrap(one, true).0, Err(text.to_owned()));
}

#[test]
fn what_does_not_go_together_is_told() {
    let log = Log::default();
    let local = Fake::new("l", "l", Reach::Local, &log);
    let keyring = Keyring::new(vec![&local]);
    let ours = parts_of(&data_key(), 2, 3, 1);
    let theirs = parts_of(&DataKey::from_bytes(&[8; 32]).expect("32 bytes"), 2, 3, 2);
    let short = parts_of(&DataKey::from_bytes(&[8; 16]).expect("16 bytes"), 2, 3, 2);
    let whole = hex(data_key().expose());
    let check = |encs: &[&str], threshold, expected: &str| {
        let groups: Vec<Vec<String>> = encs.iter().map(|it| vec![format!("l a {it}")]).collect();
        let groups: Vec<&[String]> = groups.iter().map(Vec::as_slice).collect();
        let result = block_on(keyring.unwrap(&with_mac(metadata(&groups, threshold), &data_key())));
        let text = result.map_or_else(|it| it.to_string(), |it| format!("{}", it.expose() == data_key().expose()));
        assert_eq!(text, expected);
    };
    check(&[&ours[0], &ours[1], &ours[2]], 2, "true");
    // A threshold that was made smaller: all parts count, so nothing is lost.
    let three = parts_of(&data_key(), 3, 3, 1);
    check(&[&three[0], &three[1], &three[2]], 2, "true");
    // The parts were put in another order.
    check(&[&ours[2], &ours[0]], 2, "true");
    let opened = "\n  group 0: opened\n  group 1: opened";
    let same = "the groups 0 and 1 hold the same part of the data key";
    check(&[&ours[0], &ours[0]], 2, &format!("{same}{opened}"));
    check(&[&ours[0], &ours[0], &ours[2]], 2, &format!("{same}{opened}\n  group 2: opened"));
    check(&[&ours[0], &theirs[0]], 2, &format!("the groups 0 and 1 hold parts of different data keys{opened}"));
    check(
        &[&ours[0], &short[1]],
        2,
        &format!("the groups 0 and 1 hold parts of data keys of different lengths{opened}"),
    );
    let foreign = "the part that group 2 holds is not of this file's data key";
    check(&[&ours[0], &ours[1], &theirs[2]], 2, &format!("{foreign}{opened}\n  group 2: opened"));
    // Nobody can tell which of two is wrong: opening the file shows that one is.
    check(&[&ours[0], &theirs[1]], 2, "false");
    check(&[&ours[0], &ours[1]], 5, &format!("the file asks for 5 key groups and has 2{opened}"));
    check(
        &[&ours[0], &whole],
        2,
        "1 of 2 key groups could be opened, and 2 are needed\n  group 0: opened\n  group 1:\n    l a: it holds a whole \
         data key and no part of one",
    );
    check(
        &[&ours[0], &hex(&[0; 33])],
        1,
        "1 of 2 key groups could be opened, and 2 are needed\n  group 0: opened\n  group 1:\n    l a: it holds no part \
         of a data key",
    );
    check(
        &[&ours[0]],
        2,
        "no master key could unwrap the data key\n  group 0:\n    l a: it holds a part of a data key: the other key \
         groups are missing",
    );
    check(&[&whole], 2, "true");
}

#[test]
fn a_report_says_what_became_of_each_key() {
    let long = "z".repeat(100);
    let log = Log::default();
    let (x, gpg) = (Fake::new("x", "x", Reach::Local, &log), Fake::new("gpg", "x", Reach::Prompt, &log));
    let further = Fake::new("x", "x", Reach::Prompt, &log);
    let check = |services: Vec<&dyn KeyService>, keys: &[String], text: &str| {
        let report = block_on(Keyring::new(services).unwrap(&metadata(&[keys], 0)));
        assert_eq!(report.expect_err("nothing works").to_string(), text);
    };
    let start = "no master key could unwrap the data key";
    let report = block_on(Keyring::new(vec![&x]).unwrap(&metadata(&[], 0)));
    assert_eq!(report.expect_err("nothing works").to_string(), start);
    check(
        vec![&x],
        &["x a".to_owned(), format!("quantum_kms {long} 1")],
        &format!(
            "{start}\n  group 0:\n    x a: not mine\n    quantum_kms {}…: no key service for quantum_kms",
            "z".repeat(80)
        ),
    );
    // Several services for one kind: the one that goes further has the last word, another is named.
    let two = ["x a".to_owned()];
    check(vec![&x, &further], &two, &format!("{start}\n  group 0:\n    x a: not mine"));
    check(vec![&gpg, &x], &two, &format!("{start}\n  group 0:\n    x a: not mine; gpg: not mine"));
    let many = vec!["x a".to_owned(); 2000];
    let report = block_on(Keyring::new(vec![&x]).unwrap(&metadata(&[&many], 0))).expect_err("nothing works");
    assert!(report.to_string().ends_with("\n    and 1980 more"));
    let answer = &report.groups[0].attempts[0].answers[0].1;
    assert_eq!((answer.reason(), answer.remarks().collect::<Vec<_>>()), ("not mine", vec!["looked here"]));
    assert_eq!(answer.to_string(), "not mine. looked here");
}

#[test]
fn either_every_key_is_wrapped_to_or_none() {
    let log = Log::default();
    let (x, y) = (Fake::new("x", "x", Reach::Local, &log), Fake::new("y", "y", Reach::Prompt, &log));
    let keyring = Keyring::new(vec![&x, &y]);
    let failed = |keys: &[[&str; 3]]| {
        let failure = |it: &[&str; 3]| {
            let [kind, id, reason] = it.map(str::to_owned);
            KeyFailure { kind, id, reason }
        };
        Err(WrapError::Keys(keys.iter().map(failure).collect()))
    };
    let (bad, alien) = (["x", "bad", "permission denied"], ["z", "b", "no key service for z"]);
    let split = |threshold, groups, error| Err(WrapError::Split { threshold, groups, error });
    for (groups, threshold, expected, says) in [
        (&[][..], 0, Err(WrapError::NoGroups), 0),
        (&[""], 0, Err(WrapError::EmptyGroup(0)), 0),
        (&["x a", ""], 0, Err(WrapError::EmptyGroup(1)), 0),
        (&["x a"], 0, Ok(()), 0),
        // With one group the number means nothing, and stays (spec section 4.1).
        (&["x a,y b"], 3, Ok(()), 3),
        (&["x a,x bad"], 0, failed(&[bad]), 0),
        (&["x a,z b"], 0, failed(&[alien]), 0),
        (&["x a", "y b,x c"], 0, Ok(()), 2),
        (&["x a", "y b", "x c"], 2, Ok(()), 2),
        (&["x a", "x bad"], 0, failed(&[bad]), 0),
        (&["x bad,x a", "z b"], 0, failed(&[bad, alien]), 0),
        (&["x a", "y b"], 1, split(1, 2, SplitError::ThresholdTooLow), 1),
        (&["x a", "y b"], 3, split(3, 2, SplitError::TooFewParts), 3),
    ] {
        let groups: Vec<Vec<String>> =
            groups.iter().map(|it| it.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect()).collect();
        let groups: Vec<&[String]> = groups.iter().map(Vec::as_slice).collect();
        let mut metadata = metadata(&groups, threshold);
        assert_eq!(block_on(keyring.wrap(&data_key(), &mut metadata, &mut Counting(1))), expected);
        assert_eq!(metadata.shamir_threshold, says);
        for group in &metadata.groups {
            for key in &group.0 {
                assert_eq!(key.enc.is_some(), expected.is_ok());
                assert_eq!(key.enc, group.0[0].enc, "all keys of a group hold the same part");
            }
        }
        if expected.is_ok() {
            let key = block_on(keyring.unwrap(&metadata)).expect("it was wrapped to all");
            assert_eq!(key.expose(), data_key().expose());
        }
    }
    let one = ["x a".to_owned()];
    let mut too_many = metadata(&vec![&one[..]; 256], 2);
    let result = block_on(keyring.wrap(&data_key(), &mut too_many, &mut Counting(1)));
    assert_eq!(result, split(2, 256, SplitError::TooManyParts));
}
