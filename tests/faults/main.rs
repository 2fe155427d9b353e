//! What is left when something goes wrong: kills, full disks, other writers, signals, odd files (guarantees
//! B1 to B4, C1, C2 and C7).

mod editor;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leafseal_tests::{KEYS, Outcome, Place, SOPS, leafseal, not_run, peer};
use rustix::fs::XattrFlags;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A value that must never be seen outside of the places it is meant for.
const SECRET: &str = "the-secret-value-of-faults";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn exists(program: &str) -> bool {
    let found = Command::new("which").arg(program).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|it| it.success());
    if !found {
        not_run(&format!("there is no {program}"));
    }
    found
}

/// Seals `plain` as `name` in the working folder.
fn seal(place: &Place, name: &str, plain: &str) -> Vec<u8> {
    place.write(name, plain);
    let sealed = place.leafseal(&["encrypt", "-i", "--age", KEYS[0].recipient, name]);
    assert_eq!(sealed.code, 0, "{}", sealed.stderr);
    place.read(name)
}

fn opened(place: &Place, name: &str) -> String {
    let outcome = place.leafseal(&["decrypt", "--input-type", "yaml", name]);
    assert_eq!(outcome.code, 0, "{name}: {}", outcome.stderr);
    String::from_utf8(outcome.stdout).expect("it was text")
}

/// The names in the working folder.
fn names(place: &Place) -> Vec<String> {
    let names = fs::read_dir(place.work()).expect("it is there").flatten();
    let mut names: Vec<_> = names.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The files below `folder` that hold `text`.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it is there").flatten() {
        let kind = entry.file_type().expect("it is there");
        if kind.is_dir() {
            found.extend(holding(&entry.path(), text));
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            if String::from_utf8_lossy(&bytes).contains(text) {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Everything that belongs to a place: its home, its folder for temporary files, its working folder.
fn root(place: &Place) -> PathBuf {
    place.work().parent().expect("it has a folder").to_owned()
}

fn small() -> String {
    format!("a: {SECRET}\nb: two\nn: 3\n")
}

/// A document of about 2 MB when it is sealed.
fn large() -> String {
    let lines = (0..30).map(|n| format!("key{n}: \"{}\"\n", format!("{SECRET}{n}").repeat(1800)));
    format!("a: one\n{}", lines.collect::<String>())
}

/// The calls that can change what is on a disk.
const CALLS: &str = "openat,write,pwrite64,ftruncate,fsync,fchmod,fchown,rename,renameat,renameat2,unlink,unlinkat";

/// Kills `command` at every one of those calls in turn. `prepare` puts the files there, `check` looks at
/// them afterwards.
fn kill_everywhere(place: &Place, command: &[&str], prepare: &dyn Fn(), check: &dyn Fn(&str)) {
    let traced = |options: &[&str]| {
        let mut strace = place.command("strace");
        strace.args(["-f", "-qq", "-o", "../trace", "-e"]).arg(format!("trace={CALLS}")).args(options);
        Place::finish(strace.args(command), b"")
    };
    prepare();
    let whole = traced(&[]);
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    check("not killed");
    let trace = fs::read_to_string(root(place).join("trace")).expect("strace has written it");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for call in trace.lines().filter_map(|it| it.split_whitespace().nth(1)?.split_once('(')) {
        *counts.entry(call.0).or_default() += 1;
    }
    assert!(counts.contains_key("fsync"), "{trace}");
    let mut kills = 0;
    for (call, count) in counts {
        for n in 1..=count {
            prepare();
            let inject = format!("inject={call}:signal=KILL:when={n}");
            let outcome = traced(&["-e", &inject]);
            kills += usize::from(outcome.code == 137);
            check(&inject);
        }
    }
    assert!(kills > 10, "{kills} kills are too few to say anything");
}

#[test]
fn a_kill_at_any_call_leaves_the_old_file_or_the_new_one() {
    if !exists("strace") {
        return;
    }
    let place = Place::new();
    let sealed = seal(&place, "f.yaml", &small());
    let commands: [(&[&str], Vec<u8>, String); 3] = [
        (&["leafseal", "set", "f.yaml", "[\"b\"]", "\"new\""], sealed.clone(), small().replace("two", "new")),
        (&["leafseal", "rotate", "-i", "f.yaml"], sealed, small()),
        (&["leafseal", "encrypt", "-i", "--age", KEYS[0].recipient, "f.yaml"], small().into_bytes(), small()),
    ];
    for (command, before, after) in &commands {
        let check = |at: &str| {
            let bytes = place.read("f.yaml");
            assert!(bytes == *before || opened(&place, "f.yaml") == *after, "{command:?} {at}: the file is torn");
            let leaks: Vec<_> = holding(&root(&place), SECRET);
            assert!(leaks.iter().all(|it| it.ends_with("work/f.yaml")), "{command:?} {at}: {leaks:?}");
            assert!(names(&place).len() <= 2, "{command:?} {at}: {:?}", names(&place));
        };
        kill_everywhere(&place, command, &|| place.write("f.yaml", before), &check);
    }
    // What the last one left goes with the next write.
    place.write(".f.yaml.leafseal-abcdef", "left");
    place.write("f.yaml", &commands[0].1);
    assert_eq!(place.leafseal(&["set", "f.yaml", "[\"b\"]", "\"new\""]).code, 0);
    assert_eq!(names(&place), ["f.yaml"]);
}

#[test]
fn a_kill_at_any_time_leaves_the_old_file_or_the_new_one() {
    const ROUNDS: u32 = 8;
    let place = Place::new();
    seal(&place, "f.yaml", &large());
    let set = |value: &str| {
        let mut command = place.command("leafseal");
        command.args(["set", "f.yaml", "[\"a\"]", &format!("{value:?}")]).stderr(Stdio::null());
        command
    };
    let started = Instant::now();
    assert!(set("one too").status().expect("it runs").success());
    let whole = started.elapsed();
    let rest = large().split_once('\n').expect("it has lines").1.to_owned();
    let mut before = "one too".to_owned();
    for round in 0..ROUNDS {
        let value = format!("value {round}");
        let mut child = set(&value).spawn().expect("it runs");
        // More often near the end, where it writes.
        std::thread::sleep(whole.mul_f64(1.05 - (f64::from(round) / f64::from(ROUNDS)).powi(2)));
        _ = child.kill();
        child.wait().expect("it was started");
        let now = opened(&place, "f.yaml");
        let (a, others) = now.split_once('\n').expect("it has lines");
        assert!(others == rest, "round {round}: another value is not what it was");
        if a == format!("a: {value}") {
            before = value;
        } else {
            assert_eq!(a, format!("a: {before}"), "round {round}");
        }
        assert!(names(&place).len() <= 2, "{:?}", names(&place));
    }
    assert!(set("last").status().expect("it runs").success());
    assert_eq!(names(&place), ["f.yaml"]);
    assert_eq!(holding(&root(&place), SECRET), Vec::<PathBuf>::new());
}

/// The commands that write, with what they are given.
const WRITERS: &[&[&str]] = &[
    &["set", "f.yaml", "[\"a\"]", "\"new\""],
    &["unset", "f.yaml", "[\"a\"]"],
    &["rotate", "-i", "f.yaml"],
    &["decrypt", "-i", "f.yaml"],
    &["decrypt", "--output", "out.yaml", "f.yaml"],
    &["encrypt", "-i", "plain.yaml"],
    &["updatekeys", "-y", "--rotate", "f.yaml"],
    &["edit", "f.yaml"],
];

/// A place with everything that [`WRITERS`] need.
fn writers_place() -> (Place, Vec<u8>) {
    let place = Place::new();
    let plain: String = (0..60).map(|n| format!("key{n}: {}\n", SECRET.repeat(20))).collect();
    let plain = format!("a: one\n{plain}");
    // `f.yaml` is for K1 only, so that there is something to update.
    place.write(".sops.yaml", format!("creation_rules:\n  - age: {},{}\n", KEYS[0].recipient, KEYS[1].recipient));
    let sealed = seal(&place, "f.yaml", &plain);
    place.write("plain.yaml", plain);
    place.write("append.sh", "echo 'added: new' >> \"$1\"\n");
    (place, sealed)
}

#[test]
fn a_file_size_limit_leaves_the_old_file() {
    let (place, sealed) = writers_place();
    let (before, plain) = (names(&place), place.read("plain.yaml"));
    for writer in WRITERS {
        let mut command = place.command("/bin/sh");
        command.args(["-c", "ulimit -f 16 && exec leafseal \"$@\"", "sh"]).args(*writer);
        let outcome = Place::finish(command.env("EDITOR", "sh append.sh"), b"");
        assert_eq!(outcome.code, 3, "{writer:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("file too large"), "{writer:?}: {}", outcome.stderr);
        assert!(place.read("f.yaml") == sealed && place.read("plain.yaml") == plain, "{writer:?}");
        assert_eq!(names(&place), before, "{writer:?}");
    }
    // What a shell opened is the shell's; it is said that it did not work.
    let mut command = place.command("/bin/sh");
    let outcome = Place::finish(command.args(["-c", "ulimit -f 16 && exec leafseal decrypt f.yaml > out"]), b"");
    assert!(outcome.code == 1 && outcome.stderr.contains("cannot write to stdout"), "{}", outcome.stderr);
}

/// Runs a script where it may mount file systems that nobody else sees.
fn mounting(place: &Place, script: &str) -> Option<Outcome> {
    let run = |script: &str| {
        let mut command = place.command("unshare");
        command.args(if is_root() { &["--mount"][..] } else { &["--map-root-user", "--mount"] });
        command.args(["/bin/sh", "-eu", "-c", script]);
        command.env("EDITOR", "sh append.sh");
        Place::finish(&mut command, b"")
    };
    if !exists("unshare") {
        return None;
    }
    let tried = run("mkdir -p ../disk && mount -t tmpfs -o size=192k tmpfs ../disk");
    if tried.code != 0 {
        not_run(&format!("no file system can be mounted: {}", tried.stderr));
        return None;
    }
    Some(run(script))
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let (place, _) = writers_place();
    let full = "mount -t tmpfs -o size=192k tmpfs ../disk; cp -r . ../disk; cd ../disk; mkdir ../before; \
        cp -r . ../before; cat /dev/zero > fill || true; ";
    let runs: String = WRITERS
        .iter()
        .enumerate()
        .map(|(n, words)| {
            let words: Vec<_> = words.iter().map(|it| format!("'{it}'")).collect();
            format!("code=0; leafseal {} > ../printed 2> ../said{n} || code=$?; echo $code; ", words.join(" "))
        })
        .collect();
    let looks = "rm fill; diff -r . ../before";
    let Some(outcome) = mounting(&place, &format!("{full}{runs}{looks}")) else { return };
    assert_eq!(outcome.code, 0, "{} {}", String::from_utf8_lossy(&outcome.stdout), outcome.stderr);
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), "3\n".repeat(WRITERS.len()));
    for n in 0..WRITERS.len() {
        let said = fs::read_to_string(root(&place).join(format!("said{n}"))).expect("it was run");
        assert!(said.contains("no space left on device") || said.contains("no storage space"), "{said}");
        remove_kept(&said);
    }
}

#[test]
fn a_read_only_file_system_is_refused_before_anything_is_touched() {
    let (place, sealed) = writers_place();
    for (n, writer) in WRITERS.iter().enumerate() {
        let words: Vec<_> = writer.iter().map(|it| format!("'{it}'")).collect();
        let script = format!(
            "mount --bind . . && mount -o remount,bind,ro . && cd ../work; leafseal {} 2> ../said{n}",
            words.join(" ")
        );
        let Some(outcome) = mounting(&place, &script) else { return };
        let said = fs::read_to_string(root(&place).join(format!("said{n}"))).expect("it was run");
        assert_eq!(outcome.code, 3, "{writer:?}: {said}{}", outcome.stderr);
        assert!(said.contains("no new file can be made in"), "{writer:?}: {said}");
        assert_eq!(place.read("f.yaml"), sealed);
        remove_kept(&said);
    }
}

/// Finds the text that an editor session has kept and removes it. Returns what was in it.
fn remove_kept(said: &str) -> Option<String> {
    let place = said.split("in plain text, in ").nth(1)?.split(": remove it").next()?;
    let file = Path::new(place);
    let text = fs::read_to_string(file).expect("it is kept where it is said to be");
    let mode = |it: &Path| fs::metadata(it).expect("it is there").mode() & 0o7777;
    assert_eq!((mode(file), mode(file.parent().expect("a folder"))), (0o600, 0o700));
    fs::remove_dir_all(file.parent().expect("it is in a folder of its own")).expect("it is ours");
    Some(text)
}

/// A command as somebody who is not root, and who can reach all of the place.
fn as_nobody(place: &Place) -> Option<Command> {
    if !is_root() {
        return Some(place.command("leafseal"));
    }
    if !exists("setpriv") {
        return None;
    }
    fs::set_permissions(root(place), Permissions::from_mode(0o755)).expect("it is ours");
    let program = root(place).join("program");
    if !program.exists() {
        fs::copy(leafseal(), &program).expect("there is room for tests");
    }
    let mut command = place.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
    Some(command)
}

#[test]
fn a_read_only_folder_is_refused_before_anything_is_touched() {
    let (place, sealed) = writers_place();
    let work = place.work();
    fs::set_permissions(work.join("f.yaml"), Permissions::from_mode(0o666)).expect("it is ours");
    fs::set_permissions(&work, Permissions::from_mode(0o555)).expect("it is ours");
    for writer in WRITERS {
        let Some(mut command) = as_nobody(&place) else { return };
        let outcome = Place::finish(command.args(*writer).env("EDITOR", "sh append.sh"), b"");
        assert_eq!(outcome.code, 3, "{writer:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("no new file can be made in"), "{writer:?}: {}", outcome.stderr);
        assert_eq!(place.read("f.yaml"), sealed);
        remove_kept(&outcome.stderr);
    }
    fs::set_permissions(&work, Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn a_file_that_may_not_be_read_is_said_to_be_so() {
    let (place, sealed) = writers_place();
    let file = place.work().join("f.yaml");
    for name in ["leafseal", "sops"] {
        for writer in WRITERS.iter().filter(|it| it.contains(&"f.yaml")) {
            fs::set_permissions(&file, Permissions::from_mode(0o000)).expect("it is ours");
            let Some(mut command) = as_nobody(&place) else { return };
            if name == "sops" {
                command.env("LEAFSEAL_COMPAT", "sops");
            }
            let outcome = Place::finish(command.args(*writer).env("EDITOR", "sh append.sh"), b"");
            fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
            assert_eq!(outcome.code, 2, "{name} {writer:?}: {}", outcome.stderr);
            assert!(outcome.stderr.contains("permission denied"), "{name} {writer:?}: {}", outcome.stderr);
            assert!(outcome.stderr.contains("f.yaml"), "{name} {writer:?}: {}", outcome.stderr);
            assert_eq!(place.read("f.yaml"), sealed);
        }
    }
}

#[test]
fn links_modes_owners_and_attributes_stay() {
    let place = Place::new();
    let work = place.work();
    fs::create_dir(work.join("sub")).expect("the working folder is writable");
    for (mode, (user, group)) in [(0o600, (0, 0)), (0o640, (1234, 2345)), (0o444, (1234, 0))] {
        seal(&place, "sub/f.yaml", &small());
        let file = work.join("sub/f.yaml");
        let link = work.join("link.yaml");
        _ = fs::remove_file(&link);
        symlink("sub/f.yaml", &link).expect("links can be made");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("it is ours");
        if is_root() {
            chown(&file, Some(user), Some(group)).expect("root may");
        } else {
            not_run("a file cannot be given away: not root");
        }
        let has_attributes = rustix::fs::setxattr(&file, "user.note", b"kept", XattrFlags::empty()).is_ok();
        if !has_attributes {
            not_run("the file system of TMPDIR has no extended attributes");
        }
        for writer in [&["set", "link.yaml", "[\"b\"]", "\"new\""][..], &["rotate", "-i", "link.yaml"]] {
            let before = fs::metadata(&file).expect("it is there");
            let outcome = place.leafseal(writer);
            assert_eq!(outcome.code, 0, "{}", outcome.stderr);
            assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
            let after = fs::metadata(&file).expect("it is there");
            assert_ne!(after.ino(), before.ino(), "it is replaced, not written over");
            assert_eq!(
                (after.mode(), after.uid(), after.gid()),
                (before.mode(), before.uid(), before.gid()),
                "{writer:?}"
            );
            assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
            let mut value = [0; 16];
            let kept = rustix::fs::getxattr(&file, "user.note", &mut value[..]).map(|size| &value[..size]);
            assert!(!has_attributes || kept == Ok(b"kept"), "{writer:?}");
        }
        assert_eq!(opened(&place, "link.yaml"), small().replace("two", "new"));
    }
}

#[test]
fn a_file_of_somebody_else_is_never_more_open_afterwards() {
    if !is_root() {
        return not_run("a file cannot be given away: not root");
    }
    let place = Place::new();
    seal(&place, "f.yaml", &small());
    let file = place.work().join("f.yaml");
    fs::set_permissions(place.work(), Permissions::from_mode(0o777)).expect("it is ours");
    for (mode, allowed) in [(0o666, 0o666), (0o664, 0o644), (0o4666, 0o666)] {
        chown(&file, Some(1234), Some(2345)).expect("root may");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("root may");
        let Some(mut command) = as_nobody(&place) else { return };
        let outcome = Place::finish(command.args(["rotate", "-i", "f.yaml"]), b"");
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        let after = fs::metadata(&file).expect("it is there");
        assert_eq!((after.uid(), after.mode() & 0o7777), (65534, allowed), "{mode:o}");
        assert!(outcome.stderr.contains("its owner could not be kept"), "{}", outcome.stderr);
    }
}

#[test]
fn a_file_with_two_names_is_refused_and_the_way_out_works() {
    for program in ["leafseal", "sops"] {
        let (place, sealed) = writers_place();
        let plain = place.read("plain.yaml");
        place.write("out.yaml", "old");
        let links = [("f.yaml", "linked-f"), ("plain.yaml", "linked-plain"), ("out.yaml", "linked-out")];
        for (name, other) in links {
            fs::hard_link(place.work().join(name), place.work().join(other)).expect("links can be made");
        }
        let before = names(&place);
        for writer in WRITERS {
            let outcome = Place::finish(place.command(program).args(*writer).env("EDITOR", "sh append.sh"), b"");
            assert_eq!(outcome.code, 3, "{writer:?}: {}", outcome.stderr);
            assert!(outcome.stderr.contains("has 2 names (hard links)"), "{writer:?}: {}", outcome.stderr);
            assert!(!outcome.stderr.contains("in plain text, in"), "the editor is not even started");
            assert!(place.read("f.yaml") == sealed && place.read("plain.yaml") == plain, "{writer:?}");
            assert_eq!((place.read("out.yaml").as_slice(), names(&place)), (b"old".as_slice(), before.clone()));
            let way_out = outcome.stderr.split("a file of its own: ").nth(1).expect("there is one").trim().to_owned();
            let done = Place::finish(place.command("/bin/sh").args(["-c", &way_out]), b"");
            assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{way_out}");
            let outcome = Place::finish(place.command(program).args(*writer).env("EDITOR", "sh append.sh"), b"");
            assert_eq!(outcome.code, 0, "{writer:?}: {}", outcome.stderr);
            for (name, other) in links {
                let content: &[u8] = match name {
                    "f.yaml" => &sealed,
                    "plain.yaml" => &plain,
                    _ => b"old",
                };
                assert!(place.read(other) == content, "{writer:?}: {other}");
                place.write(name, content);
                fs::remove_file(place.work().join(other)).expect("it is there");
                fs::hard_link(place.work().join(name), place.work().join(other)).expect("links can be made");
            }
        }
    }
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let place = Place::new();
    seal(&place, "f.yaml", &small());
    for round in 0..20 {
        let set = |key: &str| -> Child {
            let mut command = place.command(if round % 2 == 0 { "leafseal" } else { "sops" });
            command.args(["set", "f.yaml", key, &format!("\"{round}\"")]).stderr(Stdio::null());
            command.spawn().expect("it runs")
        };
        let children = [set("[\"a\"]"), set("[\"b\"]"), set("[\"new\"]")];
        for mut child in children {
            assert!(child.wait().expect("it was started").success(), "round {round}");
        }
        assert_eq!(opened(&place, "f.yaml"), format!("a: \"{round}\"\nb: \"{round}\"\nn: 3\nnew: \"{round}\"\n"));
    }
    assert_eq!(names(&place), ["f.yaml"]);
}

#[test]
fn output_is_private_and_goes_to_pipes_and_devices() {
    let place = Place::new();
    let plain = small();
    seal(&place, "f.yaml", &plain);
    let shell = |script: &str| Place::finish(place.command("/bin/sh").args(["-c", script]), b"");
    for program in ["leafseal", "sops"] {
        let outcome =
            shell(&format!("umask 000; {program} decrypt --output new.yaml f.yaml; stat -c %a new.yaml; rm new.yaml"));
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), "600\n", "{}", outcome.stderr);
        for script in [
            "decrypt --output /dev/stdout f.yaml | cat",
            "decrypt --output /dev/fd/1 f.yaml | cat",
            "decrypt --output /dev/stderr f.yaml 2>&1 >/dev/null | cat",
            "decrypt --output /dev/stdout f.yaml > out; cat out",
        ] {
            let outcome = shell(&format!("{program} {script}"));
            assert_eq!(String::from_utf8_lossy(&outcome.stdout), plain, "{script}: {}", outcome.stderr);
        }
        let outcome = shell(&format!(
            "mkfifo p; cat p > got & {program} decrypt --output p f.yaml; wait; test -p p; rm p; cat got"
        ));
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), plain, "{}", outcome.stderr);
    }
}

#[test]
fn a_closed_pipe_ends_quietly_with_the_code_of_its_signal() {
    let place = Place::new();
    seal(&place, "f.yaml", &large());
    for program in ["leafseal", "sops"] {
        let outcome = Place::finish(
            place
                .command("/bin/bash")
                .args(["-c", &format!("{program} decrypt f.yaml | head -c 1; echo ${{PIPESTATUS[0]}}")]),
            b"",
        );
        assert_eq!((String::from_utf8_lossy(&outcome.stdout).as_ref(), outcome.stderr.as_str()), ("a141\n", ""));
    }
}

#[test]
fn input_comes_from_pipes_as_well() {
    let place = Place::new();
    let sealed = seal(&place, "f.yaml", &small());
    let run = |input: &[u8], args: &[&str]| Place::finish(place.command("leafseal").args(args), input);
    let types = ["--input-type", "yaml"];
    for args in [&["decrypt"][..], &["decrypt", "/dev/stdin"], &["decrypt", "/dev/fd/0"]] {
        let outcome = run(&sealed, &[args, &types].concat());
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), small(), "{args:?}: {}", outcome.stderr);
    }
    let outcome = run(&sealed, &["decrypt", "--filename-override", "x.yaml"]);
    assert_eq!(outcome.stdout, small().as_bytes(), "{}", outcome.stderr);
    let to = ["--age", KEYS[0].recipient];
    for args in [&["encrypt", "--filename-override", "x.yaml"][..], &["encrypt", "--input-type", "yaml", "/dev/stdin"]]
    {
        let outcome = run(small().as_bytes(), &[args, &to].concat());
        assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.stderr);
        place.write("back.yaml", &outcome.stdout);
        assert_eq!(opened(&place, "back.yaml"), small());
    }
    let outcome = run(small().as_bytes(), &[&["encrypt"], &to[..]].concat());
    assert!(outcome.code == 8 && outcome.stderr.contains("--filename-override"), "{}", outcome.stderr);
    let outcome = run(b"", &[&["encrypt", "--filename-override", "x.yaml"], &to[..]].concat());
    assert_eq!((outcome.code, outcome.stdout.len()), (92, 0), "{}", outcome.stderr);
    let outcome = run(b"\"from stdin\"", &["set", "--value-stdin", "f.yaml", "[\"b\"]"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let outcome = run(b"\"from a pipe\"", &["set", "--value-file", "f.yaml", "[\"a\"]", "/dev/stdin"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(opened(&place, "f.yaml"), "a: from a pipe\nb: from stdin\nn: 3\n");
}

#[test]
fn a_named_pipe_is_read_and_never_replaced() {
    let place = Place::new();
    seal(&place, "f.yaml", &small());
    place.write("plain.yaml", small());
    let shell = |script: String| Place::finish(place.command("/bin/sh").args(["-c", &script]), b"");
    for program in ["leafseal", "sops"] {
        let outcome =
            shell(format!("mkfifo p.yaml; cat f.yaml > p.yaml & timeout 200 {program} decrypt p.yaml; rm p.yaml"));
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), small(), "{}", outcome.stderr);
        let writers = [
            ("plain.yaml", format!("encrypt -i --age {} p.yaml", KEYS[0].recipient)),
            ("f.yaml", "set p.yaml '[\"b\"]' '\"new\"'".to_owned()),
            ("f.yaml", "rotate -i p.yaml".to_owned()),
        ];
        for (input, writer) in writers {
            let outcome = shell(format!(
                "mkfifo p.yaml; cat {input} > p.yaml & timeout 200 {program} {writer}; echo $?; test -p p.yaml && rm p.yaml"
            ));
            assert_eq!(String::from_utf8_lossy(&outcome.stdout), "3\n", "{writer}: {}", outcome.stderr);
            assert!(outcome.stderr.contains("no regular file"), "{writer}: {}", outcome.stderr);
        }
    }
}

#[test]
fn a_configuration_that_somebody_else_can_write_is_refused() {
    let place = Place::new();
    place.write("p.yaml", small());
    place.write(".sops.yaml", format!("creation_rules:\n  - age: {}\n", KEYS[0].recipient));
    let config = place.work().join(".sops.yaml");
    let check = |why: Option<&str>, file_owner: Option<u32>| {
        if let Some(owner) = file_owner {
            chown(place.work().join("p.yaml"), Some(owner), None).expect("root may");
        }
        for program in ["leafseal", "sops"] {
            let outcome = place.run(program, &["encrypt", "p.yaml"]);
            match why {
                None => assert_eq!(outcome.code, 0, "{}", outcome.stderr),
                Some(why) => {
                    assert_eq!(outcome.code, 1);
                    assert!(outcome.stderr.contains(why) && outcome.stderr.contains("--config"), "{}", outcome.stderr);
                    assert!(outcome.stderr.contains(".sops.yaml") && outcome.stdout.is_empty());
                }
            }
            let named = place.run(program, &["--config", ".sops.yaml", "encrypt", "p.yaml"]);
            assert_eq!(named.code, 0, "a configuration that is named is the caller's word: {}", named.stderr);
        }
    };
    for (mode, why) in [(0o644, None), (0o646, Some("every user can write it")), (0o600, None)] {
        fs::set_permissions(&config, Permissions::from_mode(mode)).expect("it is ours");
        check(why, None);
    }
    if !is_root() {
        return not_run("a configuration cannot be given away: not root");
    }
    chown(&config, Some(1234), Some(0)).expect("root may");
    check(Some("it belongs to another user"), Some(0));
    check(None, Some(1234));
    check(Some("it belongs to another user"), Some(4321));
    chown(&config, Some(0), Some(2345)).expect("root may");
    fs::set_permissions(&config, Permissions::from_mode(0o664)).expect("root may");
    check(Some("a group of users can write it"), Some(0));
    fs::set_permissions(&config, Permissions::from_mode(0o644)).expect("root may");
    check(None, Some(0));
}

#[test]
fn the_search_for_a_configuration_ends_at_the_repository() {
    let rule = |n: usize| format!("creation_rules:\n  - age: {}\n", KEYS[n].recipient);
    for git in ["dir", "file"] {
        let place = Place::new();
        place.write(".sops.yaml", rule(0));
        place.write("repo/sub/p.yaml", small());
        match git {
            "dir" => fs::create_dir(place.work().join("repo/.git")).expect("the working folder is writable"),
            _ => place.write("repo/.git", "gitdir: elsewhere\n"),
        }
        let run = |program: &str, from: &str, file: &str| {
            Place::finish(place.command(program).args(["encrypt", file]).current_dir(place.work().join(from)), b"")
        };
        let used = |outcome: &Outcome| {
            let text = String::from_utf8_lossy(&outcome.stdout);
            KEYS.iter().position(|it| text.contains(it.recipient))
        };
        let outcome = run("leafseal", "repo/sub", "p.yaml");
        assert_eq!((outcome.code, used(&outcome)), (1, None), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("nothing says who can read the file"), "{}", outcome.stderr);
        // As sops does, the drop-in goes on.
        let outcome = run("sops", "repo/sub", "p.yaml");
        assert_eq!(used(&outcome), Some(0), "{}", outcome.stderr);
        place.write("repo/.sops.yaml", rule(1));
        // Both searches find the same one here, and others there.
        for (program, from, file, n, says) in [
            ("leafseal", "repo/sub", "p.yaml", 1, false),
            ("sops", "repo/sub", "p.yaml", 1, false),
            ("leafseal", ".", "repo/sub/p.yaml", 1, true),
            ("sops", ".", "repo/sub/p.yaml", 0, true),
        ] {
            let outcome = run(program, from, file);
            assert_eq!(used(&outcome), Some(n), "{program} {from}: {}", outcome.stderr);
            assert_eq!(outcome.stderr.contains(" and not "), says, "{program} {from}: {}", outcome.stderr);
        }
    }
}
