//! `restante config`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fs, path::Path};

use tempfile::TempDir;

mod binary;

/// A folder with all that a sound configuration names, and the configuration.
struct World {
    folder: TempDir,
    /// As it is given to `--config`.
    file: String,
}

impl World {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("mail")).unwrap();
        fs::write(path("users"), "ann@example.org:{PLAIN}abcxyz\n").unwrap();
        for name in ["one", "two"] {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            fs::write(path(&format!("{name}.cert")), made.cert.pem()).unwrap();
            fs::write(path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        }
        let file = path("restante.toml");
        fs::write(&file, text.replace("DIR", folder.path().to_str().unwrap())).unwrap();
        Self { file: file.to_str().unwrap().to_owned(), folder }
    }

    fn check(&self) -> binary::Ran {
        binary::restante(&["config", "check", "--config", &self.file])
    }

    /// The lines of errors, without label and file name.
    #[track_caller]
    fn errors(&self) -> Vec<String> {
        let told = self.check().fails(1);
        let start = format!("error: {}:", self.file);
        told.lines().map(|line| line.strip_prefix(&start).unwrap_or(line).trim_start().to_owned()).collect()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

const SOUND: &str = "[tls]
certificate = \"DIR/one.cert\"
key = \"DIR/one.key\"
[auth]
users = \"DIR/users\"
[store]
maildir = \"DIR/mail/{user}\"
";

#[test]
fn help() {
    for command in [&["config"][..], &["config", "check"], &["config", "explain"], &["config", "default"]] {
        binary::help(command);
    }
}

#[test]
fn a_sound_configuration_has_no_errors() {
    let world = World::new(SOUND);
    assert_eq!(world.check().ok(), format!("{}: no errors\n", world.file));
    assert_eq!(binary::restante(&["config", "check", "--json", "--config", &world.file]).ok(), "[]\n");
}

#[test]
fn the_default_configuration_is_sound_and_documented() {
    let text = binary::restante(&["config", "default"]).ok();
    binary::snapshot("config-default", &text);
    let moved = text.replace("/etc/restante", "DIR").replace("/var/vmail", "DIR/mail");
    World::new(&moved).check().ok();
    // With the examples taken in it is read, too; the certificates of the example are not there.
    let is_example = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    let taken_in = |line: &str| format!("{}\n", if is_example(&line) { &line[1..] } else { line });
    let examples: String = moved.lines().map(taken_in).collect();
    let errors = World::new(&examples).errors();
    assert!(errors.iter().all(|error| error.contains("cert.pem")) && errors.len() == 1, "{errors:?}");
}

#[test]
fn everything_is_explained() {
    binary::snapshot("config-explain", &binary::restante(&["config", "explain"]).ok());
    let one = binary::restante(&["config", "explain", "idle_seconds"]).ok();
    assert!(one.starts_with("[limits] idle_seconds\n") && one.contains("Default: 600\n"), "{one}");
    assert_eq!(one, binary::restante(&["config", "explain", "limits.idle_seconds"]).ok());
    assert_eq!(one, binary::restante(&["config", "explain", "[limits] idle_seconds"]).ok());
    let section = binary::restante(&["config", "explain", "tls"]).ok();
    assert!(section.contains("[tls] certificate\n") && section.contains("[tls] key\n"), "{section}");
    let told = binary::restante(&["config", "explain", "certificat"]).fails(2);
    assert!(told.contains("did you mean `restante config explain certificate`?"), "{told}");
    assert!(binary::restante(&["config", "explain", "zzzz"]).fails(2).contains("lists all keys"));
}

#[test]
fn errors_name_file_line_column_and_the_fix() {
    let world = World::new(
        "hostname = \"X1\"\n\n[tls]\nkey = \"/k\"\ncertificat = \"/c\"\n[log]\nlevel = \"loud\"\n",
    );
    assert_eq!(
        world.check().fails(1),
        format!(
            "error: {0}:5:1: unknown key \"certificat\" in [tls]; did you mean \"certificate\"?\n\
             error: {0}:7:9: level must be one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"\n",
            world.file
        )
    );
}

#[test]
fn errors_as_json_have_their_places() {
    let world = World::new("[tls]\nkey = \"k\"\n");
    let ran = binary::restante(&["config", "check", "--json", "--config", &world.file]);
    assert_eq!((ran.status(), ran.stderr()), (1, String::new()));
    let list: serde_json::Value = serde_json::from_str(&ran.stdout()).unwrap();
    assert_eq!((&list[0]["line"], &list[0]["column"]), (&2.into(), &7.into()));
    assert_eq!(list[0]["file"], world.file.as_str());
    assert!(list[0]["message"].as_str().unwrap().contains("not an absolute path"));
}

#[test]
fn files_that_are_missing_or_wrong_are_told_where_they_are_named() {
    let world = World::new(SOUND);
    fs::remove_dir(world.path().join("mail")).unwrap();
    fs::remove_file(world.path().join("users")).unwrap();
    fs::remove_file(world.path().join("one.key")).unwrap();
    let errors = world.errors();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].starts_with("3:7:") && errors[0].contains("one.key"), "{errors:?}");
    assert!(errors[1].starts_with("5:9:") && errors[1].contains("restante user add"), "{errors:?}");
    assert!(errors[2].starts_with("7:11:") && errors[2].contains("/mail"), "{errors:?}");

    let world = World::new(&SOUND.replace("one.key", "two.key"));
    assert!(world.errors()[0].starts_with("3:7:"), "a key of another certificate: {:?}", world.errors());
    let world = World::new(&SOUND.replace("one.cert", "users"));
    assert!(world.errors()[0].starts_with("2:15:"), "no certificate in it: {:?}", world.errors());

    let world = World::new(SOUND);
    fs::write(world.path().join("users"), "ann@example.org:{PLAIN}abcxyz\nbob:secret\n").unwrap();
    let told = world.errors().join("\n");
    assert!(told.starts_with("5:9:") && told.contains("line 2") && !told.contains("secret"), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let told = binary::restante(&["config", "check", "--config", "/nowhere/restante.toml"]).fails(1);
    assert!(told.contains("cannot read /nowhere/restante.toml") && told.contains("hint:"), "{told}");
    let world = World::new("");
    fs::write(&world.file, b"hostname = \"X1\"\n# \xff\n").unwrap();
    assert!(world.errors()[0].starts_with("2:3: this is not UTF-8"), "{:?}", world.errors());
    fs::write(&world.file, " ".repeat((1 << 20) + 1)).unwrap();
    assert!(world.check().fails(1).contains("1048576 octets"));
    binary::restante(&["config", "check", "--config", "/dev/zero"]).fails(1);
}
