//! What becomes of a text in an editor: other writers, signals, broken text, copies that editors leave.

use super::*;

/// A folder in memory for the scratch files of one test, so that nothing else is in it.
fn memory() -> Option<TempDir> {
    let folder = tempfile::Builder::new().prefix("leafseal-test-").tempdir_in("/dev/shm").ok();
    if folder.is_none() {
        not_run("there is no /dev/shm");
    }
    folder
}

fn is_empty(folder: &TempDir) -> bool {
    fs::read_dir(folder.path()).expect("it is there").next().is_none()
}

fn edit(place: &Place, memory: &TempDir, program: &str, editor: &str, args: &[&str]) -> Outcome {
    let mut command = place.command(program);
    command.env("XDG_RUNTIME_DIR", memory.path()).env("EDITOR", editor).arg("edit").args(args);
    Place::finish(&mut command, b"")
}

#[test]
fn a_file_that_changes_while_it_is_edited_is_noticed_and_the_text_kept() {
    let Some(memory) = memory() else { return };
    let place = Place::new();
    let other = seal(&place, "other.yaml", "a: other\n");
    place.write("race.sh", "echo 'added: mine' >> \"$1\"; cp other.yaml f.yaml\n");
    for program in ["leafseal", "sops"] {
        seal(&place, "f.yaml", &small());
        let outcome = edit(&place, &memory, program, "sh race.sh", &["f.yaml"]);
        assert_eq!(outcome.code, 3, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("changed by somebody else"), "{}", outcome.stderr);
        assert_eq!(place.read("f.yaml"), other);
        assert_eq!(remove_kept(&outcome.stderr), Some(format!("{}added: mine\n", small())));
        assert!(!outcome.stderr.contains(SECRET) && is_empty(&memory));
    }
    // A new file that somebody else has made meanwhile is somebody else's.
    let args = ["--age", KEYS[0].recipient, "new.yaml"];
    place.write("race.sh", "echo 'added: mine' > \"$1\"; cp other.yaml new.yaml\n");
    let outcome = edit(&place, &memory, "leafseal", "sh race.sh", &args);
    assert_eq!((outcome.code, place.read("new.yaml")), (3, other), "{}", outcome.stderr);
    assert_eq!(remove_kept(&outcome.stderr).as_deref(), Some("added: mine\n"));
}

/// A document in the layout of sops, so that it stays as it is when sops writes it.
fn shared() -> String {
    format!("a: {SECRET}\nb: two\nc: 3\n")
}

/// Those who may write a file while it is edited: the versions of real sops that are there, and ours.
fn writers() -> Vec<PathBuf> {
    SOPS.iter().filter_map(|it| peer(it)).chain([leafseal().to_owned()]).collect()
}

/// Edits `f.yaml` at a terminal, on which `answers` are typed. While the editor is open for the first time,
/// `other` writes the file. The editors are lines for `sed`.
fn edit_at_terminal(
    place: &Place,
    memory: &TempDir,
    other: &str,
    answers: &str,
    editors: [&str; 2],
) -> Option<Outcome> {
    if !exists("script") {
        return None;
    }
    _ = fs::remove_file(place.work().join("raced"));
    place.write("other.sh", other);
    place.write(
        "race.sh",
        format!(
            "if [ -e raced ]; then cp \"$1\" seen; sed -i '{}' \"$1\"; else touch raced; sed -i '{}' \"$1\"; sh other.sh; fi\n",
            editors[1], editors[0]
        ),
    );
    let mut command = place.command("timeout");
    command.env("XDG_RUNTIME_DIR", memory.path()).env("EDITOR", "sh race.sh");
    // The terminal is there until the program has ended: it hangs up when there is nothing more to type.
    let session = "rm -f ended; { cat; until [ -e ended ]; do sleep 0.05; done; } | \
                   script -qec 'leafseal edit f.yaml; echo $? > ended' /dev/null; exit $(cat ended)";
    let outcome = Place::finish(command.args(["300", "sh", "-c", session]), answers.as_bytes());
    let said = String::from_utf8_lossy(&outcome.stdout).replace('\r', "");
    assert!(!said.contains(SECRET), "{said}");
    assert!(said.contains("is kept") || is_empty(memory), "exit {}: {said}", outcome.code);
    Some(Outcome { stderr: said, ..outcome })
}

#[test]
fn an_edit_is_merged_with_what_somebody_else_has_written() {
    let Some(memory) = memory() else { return };
    for writer in writers() {
        let place = Place::new();
        place.program("other", &writer);
        let start = || seal(&place, "f.yaml", &shared());
        let set = |key: &str, value: &str| format!("other set f.yaml '[\"{key}\"]' '\"{value}\"'\n");

        start();
        let Some(outcome) = edit_at_terminal(&place, &memory, &set("c", "theirs"), "s\n", ["s/^a: .*/a: mine/", ""])
        else {
            return;
        };
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("  you changed: [\"a\"]\n  they changed: [\"c\"]\n"), "{}", outcome.stderr);
        assert_eq!(opened(&place, "f.yaml"), "a: mine\nb: two\nc: theirs\n");

        // The same place: both versions, and nothing is saved while a marker is left.
        start();
        let editors = ["s/^b: .*/b: mine/", "/^<<<<<<</d;/^=======/d;/^b: theirs/d;/^>>>>>>>/d"];
        let outcome = edit_at_terminal(&place, &memory, &set("b", "theirs"), "s\ne\n", editors).expect("it is there");
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        let both = format!("a: {SECRET}\n<<<<<<< yours\nb: mine\n=======\nb: theirs\n>>>>>>> theirs\nc: 3\n");
        assert_eq!(String::from_utf8_lossy(&place.read("seen")), both);
        assert_eq!(opened(&place, "f.yaml"), shared().replace("two", "mine"));

        start();
        let outcome =
            edit_at_terminal(&place, &memory, &set("b", "theirs"), "e\n\x04", [editors[0], ""]).expect("it is there");
        assert_ne!(outcome.code, 0);
        assert!(outcome.stderr.contains("line 2 is a marker of a conflict"), "{}", outcome.stderr);
        assert_eq!(remove_kept(&outcome.stderr), Some(both), "{}", outcome.stderr);
    }
}

/// What others do to the keys of a file, who can read it afterwards, and what became of its text.
#[test]
fn an_edit_goes_on_although_the_keys_are_others_meanwhile() {
    let Some(memory) = memory() else { return };
    for writer in writers() {
        for program in ["leafseal", "sops"] {
            let place = Place::new();
            place.program("other", &writer);
            seal(&place, "f.yaml", &shared());
            let rotate = format!("other rotate -i --add-age {} f.yaml", KEYS[1].recipient);
            place.write("race.sh", format!("echo 'added: mine' >> \"$1\"\n{rotate}\n"));
            // No text has changed, so there is nothing to ask, and no terminal needed.
            let outcome = edit(&place, &memory, program, "sh race.sh", &["f.yaml"]);
            assert_eq!(outcome.code, 0, "{}", outcome.stderr);
            assert_eq!(opened(&place, "f.yaml"), format!("{}added: mine\n", shared()));
            assert!(String::from_utf8_lossy(&place.read("f.yaml")).contains(KEYS[1].recipient));
            assert!(is_empty(&memory));
        }
    }
    // Both at once: other keys, and another text.
    let place = Place::new();
    seal(&place, "f.yaml", &shared());
    let other =
        format!("leafseal rotate -i --add-age {} f.yaml && leafseal set f.yaml '[\"c\"]' 4\n", KEYS[1].recipient);
    let Some(outcome) = edit_at_terminal(&place, &memory, &other, "e\n", ["s/^a: .*/a: mine/", "s/two/2/"]) else {
        return;
    };
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(opened(&place, "f.yaml"), "a: mine\nb: 2\nc: 4\n");
}

#[test]
fn an_edit_that_cannot_be_merged_keeps_the_text() {
    let Some(memory) = memory() else { return };
    let others = [
        (format!("leafseal rotate -i --add-age {} --rm-age {} f.yaml", KEYS[1].recipient, KEYS[0].recipient), ""),
        ("rm f.yaml".to_owned(), ""),
        ("echo 'a: plain' > f.yaml".to_owned(), ""),
        ("leafseal set f.yaml '[\"n\"]' 4".to_owned(), "k\n"),
        ("leafseal set f.yaml '[\"n\"]' 4".to_owned(), "\x04"),
    ];
    for (other, answers) in others {
        let place = Place::new();
        seal(&place, "f.yaml", &small());
        let both = format!("{other}; cp f.yaml now || true");
        let Some(outcome) = edit_at_terminal(&place, &memory, &both, answers, ["s/^a: .*/a: mine/", ""]) else {
            return;
        };
        assert_eq!(outcome.code, 3, "{other}: {}", outcome.stderr);
        let said = outcome.stderr;
        assert!(said.contains("somebody else meanwhile"), "{other}: {said}");
        assert_eq!(remove_kept(&said).as_deref(), Some("a: mine\nb: two\nn: 3\n"), "{other}: {said}");
        if other != "rm f.yaml" {
            assert_eq!(place.read("f.yaml"), place.read("now"), "{other}");
        }
    }
}

#[test]
fn a_text_that_cannot_be_sealed_is_kept_at_the_end_of_input() {
    let Some(memory) = memory() else { return };
    let place = Place::new();
    let sealed = seal(&place, "f.yaml", &small());
    place.write("break.sh", "printf 'a: [\\nmine: yes' > \"$1\"\n");
    for program in ["leafseal", "sops"] {
        let outcome = edit(&place, &memory, program, "sh break.sh", &["f.yaml"]);
        assert_ne!(outcome.code, 0);
        assert_eq!(remove_kept(&outcome.stderr).as_deref(), Some("a: [\nmine: yes"), "{}", outcome.stderr);
        assert_eq!(place.read("f.yaml"), sealed);
        assert!(is_empty(&memory));
    }
}

/// Starts an editor session and waits until the editor is there.
fn session(place: &Place, memory: &TempDir) -> Child {
    _ = fs::remove_file(place.work().join("ready"));
    let mut command = place.command("leafseal");
    command.env("XDG_RUNTIME_DIR", memory.path()).env("EDITOR", "sh hang.sh").args(["edit", "f.yaml"]);
    let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    let started = Instant::now();
    while fs::read_to_string(place.work().join("ready")).is_ok_and(|it| it.ends_with('\n')).eq(&false) {
        assert!(started.elapsed() < Duration::from_secs(120), "the editor does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process has a number");
    kill_process(pid, signal).expect("it is ours");
}

#[test]
fn signals_during_an_edit_leave_no_text_behind() {
    let Some(memory) = memory() else { return };
    let place = Place::new();
    let sealed = seal(&place, "f.yaml", &small());
    let editors = [
        "echo 'mine: yes' >> \"$1\"; cp \"$1\" \"$1~\"; echo $$ > ready; exec sleep 600\n",
        "trap '' TERM INT HUP QUIT; echo $$ > ready; while :; do sleep 0.1; done\n",
    ];
    for editor in editors {
        place.write("hang.sh", editor);
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
            let child = session(&place, &memory);
            let started = Instant::now();
            send(&child, signal);
            let output = child.wait_with_output().expect("it was started");
            assert!(!output.status.success(), "{signal:?}");
            // It does not wait for the editor to end by itself.
            assert!(started.elapsed() < Duration::from_secs(120), "{signal:?}");
            assert!(is_empty(&memory), "{signal:?}: the text is still there");
            assert_eq!(place.read("f.yaml"), sealed, "{signal:?}");
            assert_eq!(holding(&root(&place), SECRET), Vec::<PathBuf>::new(), "{signal:?}");
            let editor = String::from_utf8(place.read("ready")).expect("it is a number");
            let state = fs::read_to_string(format!("/proc/{}/cmdline", editor.trim())).unwrap_or_default();
            assert!(!state.contains("hang.sh") && !state.contains("sleep"), "{signal:?}: the editor is still there");
        }
    }
}

#[test]
fn a_kill_during_an_edit_leaves_no_text_on_a_disk() {
    let Some(memory) = memory() else { return };
    let place = Place::new();
    let sealed = seal(&place, "f.yaml", &small());
    place.write("hang.sh", "echo $$ > ready; exec sleep 600\n");
    let mut child = session(&place, &memory);
    child.kill().expect("it is ours");
    child.wait().expect("it was started");
    let editor = String::from_utf8(place.read("ready")).expect("it is a number");
    let editor = Pid::from_raw(editor.trim().parse().expect("it is a number")).expect("it is one");
    kill_process(editor, Signal::KILL).expect("it is ours");
    assert_eq!(place.read("f.yaml"), sealed);
    assert_eq!(holding(&root(&place), SECRET), Vec::<PathBuf>::new());
}

#[test]
fn the_text_in_an_editor_is_private_and_in_memory_and_so_is_what_the_editor_leaves() {
    let Some(memory) = memory() else { return };
    let place = Place::new();
    seal(&place, "f.yaml", &small());
    place.write(
        "look.sh",
        "stat -c '%a' \"$1\" \"$(dirname \"$1\")\" > modes; stat -f -c '%T' \"$1\" >> modes; echo \"$1\" > where\n\
         cp \"$1\" \"$1~\"; mkdir \"$(dirname \"$1\")/sub\"; cp \"$1\" \"$(dirname \"$1\")/sub/copy\"\n\
         echo 'added: new' >> \"$1\"\n",
    );
    let outcome = edit(&place, &memory, "leafseal", "sh look.sh", &["f.yaml"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert_eq!(String::from_utf8_lossy(&place.read("modes")), "600\n700\ntmpfs\n");
    let file = String::from_utf8(place.read("where")).expect("it is a path");
    assert!(file.starts_with(&memory.path().display().to_string()) && file.ends_with("/f.yaml\n"), "{file}");
    assert!(is_empty(&memory));
    assert_eq!(opened(&place, "f.yaml"), format!("{}added: new\n", small()));
    assert_eq!(holding(&root(&place), SECRET), Vec::<PathBuf>::new());
}

#[test]
fn editors_are_started_with_their_copies_off() {
    let Some(memory) = memory() else { return };
    let place = Place::new();
    seal(&place, "f.yaml", &small());
    place.write("fake", "#!/bin/sh\nprintf '%s\\n' \"$@\" > argv\n");
    fs::set_permissions(place.work().join("fake"), Permissions::from_mode(0o755)).expect("it is ours");
    let vim: &[&str] = &["-n", "-i", "NONE", "set nobackup nowritebackup noswapfile noundofile"];
    let cases: [(&str, &[&str]); 6] = [
        ("vim", vim),
        ("nvim", vim),
        ("vi", vim),
        ("nano", &["--restricted"]),
        ("emacs", &["(setq make-backup-files nil auto-save-default nil create-lockfiles nil)"]),
        ("code", &["--wait"]),
    ];
    for (editor, wanted) in cases {
        if editor == "vi" {
            // `vi` is a link to whatever it really is.
            place.program("vi", &root(&place).join("bin/vim"));
            _ = fs::remove_file(root(&place).join("bin/vim"));
            fs::copy(place.work().join("fake"), root(&place).join("bin/vim")).expect("there is room for tests");
        } else {
            place.program(editor, &place.work().join("fake"));
        }
        let outcome = edit(&place, &memory, "sops", &format!("{editor} -x"), &["f.yaml"]);
        assert_eq!(outcome.code, 200, "{editor}: {}", outcome.stderr);
        let argv = String::from_utf8(place.read("argv")).expect("arguments are text");
        let argv: Vec<_> = argv.lines().collect();
        assert!(wanted.iter().all(|it| argv.contains(it)), "{editor}: {argv:?}");
        assert!(argv.contains(&"-x") && argv.last().is_some_and(|it| it.ends_with("/f.yaml")), "{editor}: {argv:?}");
    }
}

#[test]
fn the_real_vim_leaves_nothing() {
    let Some(memory) = memory() else { return };
    if !exists("vim") {
        return;
    }
    let place = Place::new();
    seal(&place, "f.yaml", &small());
    fs::write(
        root(&place).join("home/.vimrc"),
        "set backup writebackup undofile swapfile\nset backupdir=~ undodir=~ directory=~\n",
    )
    .expect("the home is writable");
    let outcome = edit(&place, &memory, "leafseal", "vim -es -c '$put =\\\"added: new\\\"' -c wq", &["f.yaml"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(opened(&place, "f.yaml"), format!("{}added: new\n", small()));
    assert_eq!(holding(&root(&place), SECRET), Vec::<PathBuf>::new());
    assert!(is_empty(&memory));
}
