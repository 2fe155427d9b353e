//! OpenPGP keys and messages of every kind, both ways, with real GnuPG and real sops.

use std::sync::{Arc, Mutex};

use leafseal::edge::{Clock, Timestamp};
use leafseal::keyservice::pgp::{self, Certificates, KIND, Pgp, SecretKeys};
use leafseal::keyservice::{KeyService, Prompt};
use leafseal::metadata::MasterKey;
use leafseal::secret::KeyPart;
use leafseal::secret::SecretText;
use leafseal_tests::gnupg::Gnupg;
use leafseal_tests::{Place, SOPS, peer};
use pollster::block_on;

/// How sops calls gpg to encrypt (spec section 6.3).
const ENCRYPT: [&str; 7] =
    ["--no-default-recipient", "--yes", "--encrypt", "-a", "--no-encrypt-to", "--trust-model", "always"];

/// What a wrapped key is in these tests.
const DATA_KEY: [u8; 32] = [7; 32];

struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        Timestamp::from_utc_seconds(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

/// Answers with one passphrase and notes what was asked.
struct Answer(&'static str, Arc<Mutex<Vec<String>>>);

impl Prompt for Answer {
    fn passphrase(&self, what: &str) -> Option<SecretText> {
        self.1.lock().expect("no test panics here").push(what.to_owned());
        Some(self.0.into())
    }
}

fn service(certificates: &[u8], secret: &[u8]) -> Pgp {
    let (mut public, mut keys) = (Certificates::default(), SecretKeys::default());
    public.read("certificates", certificates.to_vec());
    keys.read("secret keys", secret);
    Pgp::new((Arc::new(public), Arc::new(keys)), Now)
}

/// Wraps the data key; the text says why not.
fn wrap(pgp: &Pgp, name: &str) -> Result<String, String> {
    let key = MasterKey {
        kind: KIND.name.to_owned(),
        fields: vec![("fp".to_owned(), leafseal::tree::Wire::text(name))],
        enc: None,
    };
    let data_key = KeyPart::from_bytes(&DATA_KEY).expect("32 bytes");
    block_on(pgp.wrap(&key, &data_key)).expect("an OpenPGP key").map_err(|it| it.0)
}

/// Unwraps and checks the data key; the text says why not.
fn unwrap(pgp: &Pgp, enc: &[u8]) -> Result<(), String> {
    let enc = Some(String::from_utf8_lossy(enc).into_owned());
    let key = MasterKey { kind: KIND.name.to_owned(), fields: Vec::new(), enc };
    let data_key = block_on(pgp.unwrap(&key)).expect("an OpenPGP key").map_err(|it| it.0)?;
    if data_key.expose() == DATA_KEY { Ok(()) } else { Err("another key".to_owned()) }
}

/// Whom a message is for.
fn whom(enc: &[u8]) -> Vec<Option<String>> {
    let recipients = pgp::recipients(&String::from_utf8_lossy(enc)).expect("a message");
    recipients.into_iter().map(|it| it.id).collect()
}

/// Makes a certificate of a kind: algorithms of the primary key and the subkey, options.
fn made(gpg: &Gnupg, (user, primary, subkey, options): (&str, &str, &str, &[&str])) -> String {
    if primary == "dsa" {
        let lines = format!("Key-Type: DSA\nKey-Length: 2048\nSubkey-Type: ELG-E\nSubkey-Length: {subkey}");
        return gpg.generate_from(user, &lines);
    }
    let fingerprint = gpg.generate(options, user, [primary, "default", "never"], "");
    gpg.add(options, &fingerprint, [subkey, "encr", "never"], "");
    fingerprint
}

const KINDS: &[(&str, &str, &str, &[&str])] = &[
    ("rsa1024", "rsa1024", "rsa1024", &[]),
    ("rsa2048", "rsa2048", "rsa2048", &[]),
    ("rsa3072", "rsa3072", "rsa3072", &[]),
    ("rsa4096", "rsa2048", "rsa4096", &[]),
    ("sha1", "rsa2048", "rsa2048", &["--cert-digest-algo", "SHA1"]),
    ("elg1024", "dsa", "1024", &[]),
    ("elg2048", "dsa", "2048", &[]),
    ("elg3072", "dsa", "3072", &[]),
    ("cv25519", "ed25519", "cv25519", &[]),
    ("nistp256", "nistp256", "nistp256", &[]),
    ("nistp384", "nistp384", "nistp384", &[]),
    ("nistp521", "nistp521", "nistp521", &[]),
];

#[test]
fn gpg_and_we_read_each_other() {
    let Some(gpg) = peer("gpg") else { return };
    let gpg = Gnupg::new(&gpg);
    for kind in KINDS {
        let (user, fingerprint) = (kind.0, made(&gpg, *kind));
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&warnings);
        let pgp = service(&gpg.certificate(user), &gpg.secret(user, ""))
            .with_warnings(move |it| noted.lock().expect("no test panics here").push(it.to_owned()));
        let theirs = gpg.ok(&[&ENCRYPT[..], &["-r", &fingerprint]].concat(), &DATA_KEY);
        assert_eq!(unwrap(&pgp, &theirs), Ok(()), "{user}");
        let ours = wrap(&pgp, &fingerprint).unwrap_or_else(|error| panic!("{user}: {error}"));
        assert_eq!(whom(ours.as_bytes()), whom(&theirs), "{user}");
        assert!(ours.starts_with("-----BEGIN PGP MESSAGE-----\n\n") && ours.ends_with("-----END PGP MESSAGE-----"));
        assert_eq!(gpg.ok(&["--decrypt"], ours.as_bytes()), DATA_KEY, "{user}");
        assert_eq!(unwrap(&pgp, ours.as_bytes()), Ok(()), "{user}");
        let warned = warnings.lock().expect("not poisoned").join("");
        let expected = match user {
            "rsa1024" | "elg1024" => "has only 1024 bits",
            "sha1" => "is held together by outdated signatures (SHA-1)",
            "elg2048" | "elg3072" => "is of a kind that goes out of use",
            _ => "",
        };
        assert!(warned.ends_with(expected) && warned.is_empty() == expected.is_empty(), "{user}: {warned}");
    }
}

/// What the libraries here cannot do is said, so that the program gpg is asked next.
#[test]
fn keys_that_are_left_to_gpg_are_named() {
    let Some(gpg) = peer("gpg") else { return };
    let gpg = Gnupg::new(&gpg);
    for kind in [
        ("brainpool", "brainpoolP256r1", "brainpoolP256r1", &[][..]),
        ("half-brainpool", "ed25519", "brainpoolP384r1", &[]),
    ] {
        let (user, fingerprint) = (kind.0, made(&gpg, kind));
        let pgp = service(&gpg.certificate(user), &gpg.secret(user, ""));
        let theirs = gpg.ok(&[&ENCRYPT[..], &["-r", &fingerprint]].concat(), &DATA_KEY);
        for answer in [wrap(&pgp, &fingerprint).map(drop), unwrap(&pgp, &theirs)] {
            let error = answer.expect_err("the backend has no such curve");
            assert!(error.contains("brainpoolP") && error.contains("left to gpg"), "{error}");
        }
    }
}

#[test]
fn whatever_gpg_writes_is_read() {
    let Some(gpg) = peer("gpg") else { return };
    let gpg = Gnupg::new(&gpg);
    let one = made(&gpg, ("one", "ed25519", "cv25519", &[]));
    let two = made(&gpg, ("two", "rsa2048", "rsa2048", &[]));
    let other = made(&gpg, ("other", "rsa2048", "rsa2048", &[]));
    let pgp = service(&[], &[gpg.secret("one", ""), gpg.secret("two", "")].concat());
    let to_one = ["-r", &one];
    for options in [
        &["-r", &one, "--compress-algo", "none"][..],
        &["-r", &one, "--compress-algo", "zip"],
        &["-r", &one, "--compress-algo", "zlib"],
        &["-r", &one, "--compress-algo", "bzip2"],
        &["-r", &one, "--cipher-algo", "AES128"],
        &["-r", &one, "--cipher-algo", "3DES"],
        &["-r", &one, "--cipher-algo", "CAST5"],
        &["-r", &one, "--cipher-algo", "TWOFISH"],
        &["-r", &one, "--cipher-algo", "CAMELLIA256"],
        &["-r", &one, "--cipher-algo", "IDEA"],
        &["-r", &one, "--set-filename", "a name", "--for-your-eyes-only"],
        &["-r", &one, "--textmode"],
        &["-r", &one, "--throw-keyids"],
        &["-R", &one],
        &["-R", &two],
        &["-r", &other, "-r", &one],
        &["-r", &other, "-R", &other, "-R", &two],
        &["-r", &two, "--comment", "for all", "--emit-version"],
        &["-r", &one, "--symmetric", "--passphrase", "secret"],
        &to_one,
    ] {
        let enc = gpg.ok(&[&ENCRYPT[..], options].concat(), &DATA_KEY);
        assert_eq!(unwrap(&pgp, &enc), Ok(()), "{options:?}");
        let crlf = String::from_utf8_lossy(&enc).replace('\n', "\r\n");
        assert_eq!(unwrap(&pgp, crlf.as_bytes()), Ok(()), "{options:?}");
        assert_eq!(unwrap(&pgp, &[b"\n \n", &enc[..]].concat()), Ok(()), "{options:?}");
    }
    for (options, error) in [
        (&["-r", &one, "--sign", "--local-user", &two][..], "the OpenPGP message is signed, which is left to gpg"),
        (&["-r", &one, "--rfc2440"], "the OpenPGP message is not protected against changes (it has no MDC)"),
        (&["-r", &one, "--cipher-algo", "BLOWFISH"], "encrypted with Blowfish, which is left to gpg"),
        (&["-r", &other], "no secret key for "),
        (&["-R", &other], "no secret key for a hidden recipient"),
    ] {
        let enc = gpg.ok(&[&ENCRYPT[..], options].concat(), &DATA_KEY);
        let text = unwrap(&pgp, &enc).expect_err("it does not open");
        assert!(text.contains(error), "{text}");
    }
}

/// A wrapped key is cut or changed in many places: it opens to the same or not at all.
#[test]
fn nothing_that_was_changed_opens_to_something_else() {
    let Some(gpg) = peer("gpg") else { return };
    let gpg = Gnupg::new(&gpg);
    for kind in [("one", "ed25519", "cv25519", &[][..]), ("two", "rsa2048", "rsa2048", &[])] {
        let fingerprint = made(&gpg, kind);
        let pgp = service(&[], &gpg.secret(kind.0, ""));
        let enc = gpg.ok(&[&ENCRYPT[..], &["-r", &fingerprint]].concat(), &DATA_KEY);
        for at in (0..enc.len()).step_by(3) {
            let mut changed = enc.clone();
            changed[at] ^= 1;
            for text in [&changed[..], &enc[..at]] {
                if let Err(error) = unwrap(&pgp, text) {
                    assert_ne!(error, "another key", "{}", kind.0);
                }
            }
        }
    }
}

#[test]
fn a_passphrase_is_asked_for_only_if_the_message_is_for_that_key() {
    let Some(gpg) = peer("gpg") else { return };
    let gpg = Gnupg::new(&gpg);
    let locked = gpg.generate(&[], "locked", ["ed25519", "default", "never"], "secret");
    gpg.add(&[], &locked, ["cv25519", "encr", "never"], "secret");
    let open = made(&gpg, ("open", "ed25519", "cv25519", &[]));
    let secrets = [gpg.secret("locked", "secret"), gpg.secret("open", "")].concat();
    let nobody = "needs a passphrase: there is nobody to ask";
    for (recipients, answer, questions, error) in [
        (&["-r", &open][..], "", 0, None),
        (&["-r", &locked, "-r", &open], "", 0, None),
        (&["-R", &locked, "-R", &open], "", 0, None),
        (&["-r", &locked], "secret", 1, None),
        (&["-R", &locked], "secret", 1, None),
        (&["-r", &locked], "wrong", 1, Some("does not open with this passphrase")),
        (&["-r", &locked], "", 0, Some(nobody)),
    ] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut pgp = service(&[], &secrets);
        if !answer.is_empty() {
            pgp = pgp.with_prompt(Answer(if answer == "secret" { "secret" } else { "wrong" }, Arc::clone(&asked)));
        }
        let enc = gpg.ok(&[&ENCRYPT[..], recipients].concat(), &DATA_KEY);
        for _ in 0..2 {
            match (unwrap(&pgp, &enc), error) {
                (Ok(()), None) => (),
                (Err(text), Some(error)) => assert!(text.contains(error), "{text}"),
                (result, _) => panic!("{recipients:?} {answer}: {result:?}"),
            }
        }
        let asked = asked.lock().expect("not poisoned");
        assert_eq!(asked.len(), questions, "{recipients:?} {answer}: {asked:?}");
        assert!(asked.iter().all(|it| it.starts_with("Enter passphrase for the OpenPGP key ")));
    }
    // A certificate whose secret half was left out.
    let stub = gpg.ok(&["--passphrase", "secret", "--export-secret-subkeys", "locked"], b"");
    let enc = gpg.ok(&[&ENCRYPT[..], &["-r", &locked]].concat(), &DATA_KEY);
    let pgp = service(&[], &stub).with_prompt(Answer("secret", Arc::default()));
    assert_eq!(unwrap(&pgp, &enc), Ok(()));
}

/// Whatever name a key is given, the message is for the key that gpg takes; where gpg refuses, so do
/// we.
#[test]
fn the_key_is_the_one_that_gpg_takes() {
    const OLD: &[&str] = &["--faked-system-time", "20200101T000000!"];
    const LATER: &[&str] = &["--faked-system-time", "20210101T000000!"];
    let Some(gpg) = peer("gpg") else { return };
    let gpg = Gnupg::new(&gpg);
    let new = |user, expires| gpg.generate(OLD, user, ["ed25519", "default", expires], "");
    let add = |options: &[&str], fingerprint: &str, usage, expires| {
        let algorithm = if usage == "sign" { "ed25519" } else { "cv25519" };
        gpg.add(options, fingerprint, [algorithm, usage, expires], "");
    };
    let several = new("several", "never");
    for options in [OLD, LATER, LATER] {
        add(options, &several, "encr", "never");
    }
    add(&[], &several, "sign", "never");
    let lapsed = new("lapsed", "never");
    add(LATER, &lapsed, "encr", "never");
    add(OLD, &lapsed, "encr", "2y");
    let replaced = new("replaced", "never");
    add(OLD, &replaced, "encr", "1y");
    add(LATER, &replaced, "encr", "never");
    let spent = new("spent", "never");
    add(OLD, &spent, "encr", "1y");
    let expired = new("expired", "1y");
    add(OLD, &expired, "encr", "never");
    let extended = new("extended", "1y");
    add(OLD, &extended, "encr", "never");
    gpg.ok(&["--quick-set-expire", &extended, "0"], b"");
    let signing = new("signing", "never");
    add(OLD, &signing, "sign", "never");
    let primary = gpg.generate(OLD, "primary", ["rsa2048", "sign,cert,encr", "never"], "");
    let both = gpg.generate(OLD, "both", ["rsa2048", "sign,cert,encr", "never"], "");
    add(OLD, &both, "encr", "never");
    let revoked = new("revoked", "never");
    add(OLD, &revoked, "encr", "never");
    let certificate = gpg.path().join("openpgp-revocs.d").join(format!("{revoked}.rev"));
    let certificate = std::fs::read_to_string(certificate).expect("gpg writes one for each key");
    gpg.ok(&["--import"], certificate.replace(":-----BEGIN", "-----BEGIN").as_bytes());
    let withdrawn = new("withdrawn", "never");
    add(OLD, &withdrawn, "encr", "never");
    add(LATER, &withdrawn, "encr", "never");
    let answers = b"key 2\nrevkey\ny\n0\n\ny\nsave\n";
    gpg.ok(&["--no-batch", "--command-fd", "0", "--no-tty", "--edit-key", &withdrawn], answers);

    let pgp = service(&gpg.ok(&["--export"], b""), &[]);
    let mut names: Vec<String> = Vec::new();
    let all = [several, lapsed, replaced, spent, expired, extended, signing, primary, both, revoked, withdrawn];
    for fingerprint in all.iter().flat_map(|it| gpg.fingerprints(it)) {
        let id = &fingerprint[24..];
        names.extend([fingerprint.clone(), format!("{fingerprint}!"), format!("0x{id}!"), id.to_lowercase()]);
    }
    names.extend(
        ["0000000000000000", "0000000000000000000000000000000000000000", "several", "nobody"].map(str::to_owned),
    );
    let mut opened = 0;
    for name in names {
        let theirs = gpg.run(&[&ENCRYPT[..], &["-r", &name]].concat(), &DATA_KEY).ok();
        match (wrap(&pgp, &name), theirs) {
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(whom(ours.as_bytes()), whom(&theirs), "{name}");
                opened += 1;
            }
            // User ids are left to gpg.
            (Err(ours), Ok(_)) => assert!(name == "several" && ours.contains("is no fingerprint"), "{name}: {ours}"),
            (Err(ours), Err(_)) => assert!(ours.starts_with("could not encrypt data key with PGP key: "), "{ours}"),
            (Ok(_), Err(theirs)) => panic!("{name}: {theirs}"),
        }
    }
    assert!(opened > 40, "{opened}");
    for (fingerprint, error) in [
        (&all[3], "has a key for encryption, but it has expired"),
        (&all[4], "has expired"),
        (&all[6], "has no key for encryption"),
        (&all[9], "was revoked"),
    ] {
        let text = wrap(&pgp, fingerprint).expect_err("it may not be used");
        assert!(text.contains(&fingerprint[..]) && text.ends_with(error), "{text}");
    }
}

#[test]
fn keyrings_are_read_in_every_form_and_damage_hides_nothing_else() {
    let Some(gpg) = peer("gpg") else { return };
    let gpg = Gnupg::new(&gpg);
    let users = ["a", "b", "c", "d"].map(|it| (it, made(&gpg, (it, "ed25519", "cv25519", &[]))));
    let read = |name: &str| std::fs::read(gpg.path().join(name)).expect("gpg wrote it");
    let keybox = read("pubring.kbx");
    let binary = gpg.ok(&["--export"], b"");
    let armoured = gpg.ok(&["--armor", "--export"], b"");
    let each: Vec<u8> = users.iter().flat_map(|(it, _)| gpg.ok(&["--armor", "--export", it], b"")).collect();
    let old = ["--no-default-keyring", "--primary-keyring", "./old.gpg", "--import"];
    std::fs::write(gpg.path().join("old.gpg"), b"").expect("writable");
    gpg.ok(&old, &binary);
    let found = |ring: &[u8]| {
        let pgp = service(ring, &[]);
        users.iter().filter(|(_, it)| wrap(&pgp, it).is_ok()).count()
    };
    for (name, ring) in
        [("keybox", &keybox), ("binary", &binary), ("armour", &armoured), ("armours", &each), ("old", &read("old.gpg"))]
    {
        assert_eq!(found(ring), users.len(), "{name}");
        assert!((1..=2).contains(&found(&ring[..ring.len() * 5 / 9])), "{name}");
    }
    // One byte changed spoils one certificate at most; with a wrong length in a keyring without
    // lengths of its own, what follows too.
    for at in (0..keybox.len()).step_by(11) {
        let mut changed = keybox.clone();
        changed[at] ^= 0x55;
        assert!(found(&changed) >= users.len() - 1, "keybox, byte {at}");
    }
    for at in (0..binary.len()).step_by(11) {
        let mut changed = binary.clone();
        changed[at] ^= 0x55;
        found(&changed);
    }
}

#[test]
fn sops_and_we_read_each_other() {
    let Some(program) = peer("gpg") else { return };
    let gpg = Gnupg::new(&program);
    let home = gpg.path().to_str().expect("UTF-8").to_owned();
    let place = Place::new();
    place.write("p.yaml", "a: hello\n");
    for kind in ["rsa2048", "sha1", "elg2048", "cv25519", "nistp384"] {
        let kind = KINDS.iter().find(|it| it.0 == kind).expect("it stands in the table");
        let (user, fingerprint) = (kind.0, made(&gpg, *kind));
        place.write("secret.pgp", gpg.secret(user, ""));
        place.write("public.pgp", gpg.certificate(user));
        // The keyrings of GnuPG 1.4 and 2.0 are files of packets.
        place.write("../old/pubring.gpg", gpg.certificate(user));
        place.write("../old/secring.gpg", gpg.secret(user, ""));
        let old_home = place.work().join("../old").display().to_string();
        let run = |program: &str, variables: &[(&str, &str)], args: &[&str]| {
            let mut command = place.command(place.work().join("../bin").join(program));
            command.envs(variables.iter().copied()).args(args);
            let outcome = Place::finish(&mut command, b"");
            outcome.ok().unwrap_or_else(|error| panic!("{program} {variables:?} {args:?} ({user}): {error}"))
        };
        let encrypt = ["encrypt", "--pgp", &fingerprint, "p.yaml"];
        let ours: &[&[(&str, &str)]] = &[
            &[("GNUPGHOME", &home)],
            &[("GNUPGHOME", &old_home), ("SOPS_GPG_EXEC", "/bin/false")],
            &[("GNUPGHOME", "/nonexistent"), ("LEAFSEAL_PGP_CERTS", "nothing:public.pgp")],
            &[("GNUPGHOME", "/nonexistent"), ("LEAFSEAL_PGP_KEYS", "secret.pgp")],
        ];
        let opening: &[&[(&str, &str)]] = &[
            &[("GNUPGHOME", "/nonexistent"), ("LEAFSEAL_PGP_KEYS", "secret.pgp:nothing")],
            &[("GNUPGHOME", &old_home), ("SOPS_GPG_EXEC", "/bin/false")],
        ];
        for sops in SOPS {
            let Some(theirs) = peer(sops) else { continue };
            let theirs = theirs.to_str().expect("UTF-8");
            let gnupg: &[(&str, &str)] = &[("GNUPGHOME", &home)];
            for variables in ours {
                place.write("ours.yaml", run("leafseal", variables, &encrypt));
                assert_eq!(run(theirs, gnupg, &["decrypt", "ours.yaml"]), b"a: hello\n", "{variables:?}");
            }
            place.write("theirs.yaml", run(theirs, gnupg, &encrypt));
            for variables in opening {
                assert_eq!(run("leafseal", variables, &["decrypt", "theirs.yaml"]), b"a: hello\n", "{variables:?}");
            }
        }
    }
}
