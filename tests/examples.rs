//! The examples, as a reader meets them: every command of README.md and of `examples/` does what stands
//! there.

use std::path::Path;
use std::process::Command;

use leafseal_tests::{Place, SOPS, difference, peer, workspace};

/// How README.md calls the program in a fresh clone.
const FROM_THE_CLONE: &str = "cargo run -q -p leafseal-cli --bin leafseal --";

/// All that the examples need beside the shell and the program itself: no gpg, no age.
const PROGRAMS: [&str; 3] = ["grep", "head", "sed"];

/// A copy of the examples to work in, with their identity and their configuration.
fn copy() -> Place {
    let place = Place::new();
    let parts = [".sops.yaml", "examples"].map(|it| workspace().join(it));
    let copied = Command::new("cp").arg("-R").args(parts).arg(place.work()).status();
    assert!(copied.expect("cp runs").success());
    place
}

/// The commands of the `console` blocks of a text, each with what it prints.
fn commands(text: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (line, line.strip_prefix("$ ")) {
            ("```console", _) => inside = true,
            ("```", _) => inside = false,
            (_, Some(command)) if inside => commands.push((command.to_owned(), String::new())),
            _ if inside => {
                if let Some((command, printed)) = commands.last_mut() {
                    match command.ends_with('\\') {
                        true => *command = format!("{}{}", command.trim_end_matches('\\'), line.trim_start()),
                        false => printed.push_str(&format!("{line}\n")),
                    }
                }
            }
            _ => (),
        }
    }
    commands
}

fn follow(file: &Path) {
    let text = std::fs::read_to_string(file).expect("the document is there");
    let place = copy();
    PROGRAMS.iter().for_each(|it| place.program(it, &Path::new("/usr/bin").join(it)));
    let commands = commands(&text);
    assert!(!commands.is_empty(), "{} shows no command", file.display());
    let mut exports = String::new();
    for (command, printed) in commands {
        if command.starts_with("export ") {
            exports.push_str(&format!("{command}; "));
            continue;
        }
        let line = exports.clone() + &command.replace(FROM_THE_CLONE, "leafseal");
        let mut shell = place.command("/bin/sh");
        let outcome = Place::finish(shell.env("PATH", place.work().join("../bin")).args(["-c", &line]), b"");
        assert_eq!(outcome.code, 0, "{command}\n{}", outcome.stderr);
        // A terminal does not show whether the last line ends.
        let (want, got) = (printed.trim_end_matches('\n').as_bytes(), outcome.stdout.trim_ascii_end());
        assert!(want == got, "{command}\n{}", difference(want, got));
    }
}

#[test]
fn the_readme_does_what_it_says() {
    follow(&workspace().join("README.md"));
}

#[test]
fn the_gitops_example_does_what_it_says() {
    follow(&workspace().join("examples/gitops/README.md"));
}

#[test]
fn the_deployment_example_does_what_it_says() {
    follow(&workspace().join("examples/deployment/README.md"));
}

#[test]
fn real_sops_opens_every_example() {
    let place = copy();
    for version in SOPS {
        let Some(sops) = peer(version) else { continue };
        for file in ["secrets.yaml", "gitops/apps/shop/secret.yaml"] {
            let mut command = place.command(&sops);
            command.env("SOPS_AGE_KEY_FILE", place.work().join("examples/age-identity.txt"));
            command.arg("decrypt").arg(place.work().join("examples").join(file));
            let outcome = Place::finish(&mut command, b"");
            assert_eq!(outcome.code, 0, "{version} {file}: {}", outcome.stderr);
        }
    }
}
