//! Users of PAM, by modules of Debian's: `pam_exec` runs a program that is given name and password. The service stands in
//! a folder that only this test's server sees as `/etc/pam.d`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Instant};

use restante_interop::{
    PASSWORD, Server, USER,
    directory::{ANN, Answer, JOERG, TIMEOUT_SECONDS, USERS, login},
};

/// PAM itself waits for some seconds before it says no.
const PATIENT_SECONDS: u64 = 30;

/// The service: who is right is in; one who is not there is unknown where `unknown`, and wrong elsewhere.
fn service(folder: &Path, name: &str, lines: &str) {
    let pam = folder.join("pam.d");
    fs::create_dir_all(&pam).unwrap();
    fs::write(pam.join(name), lines.replace("FOLDER", &folder.display().to_string())).unwrap();
}

fn script(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn sections(service: &str, seconds: u64) -> String {
    format!("[pam]\nservice = \"{service}\"\nthreads = 2\ntimeout_seconds = {seconds}\n")
}

#[test]
fn the_modules_are_asked() {
    let folder = tempfile::tempdir().unwrap();
    // pam_exec ends the password with a NUL. Whoever is in no file of the folder gets no further than pam_unix, which
    // knows none of them.
    script(
        folder.path(),
        "check",
        "dir=${0%/*}\n[ -f \"$dir/users/$PAM_USER\" ] || exit 1\n[ \"$(tr -d '\\0')\" = \"$(cat \"$dir/users/$PAM_USER\")\" ]\n",
    );
    fs::create_dir(folder.path().join("users")).unwrap();
    for (user, password) in [ANN, JOERG, ("gone@example.org", "x")] {
        fs::write(folder.path().join("users").join(user), password).unwrap();
    }
    // As Debian's common-auth: what pam_unix says is lost, and pam_deny says that it is wrong.
    service(
        folder.path(),
        "denying",
        "auth sufficient pam_exec.so quiet expose_authtok FOLDER/check\nauth requisite pam_deny.so\n\
         account [success=1 default=ignore] pam_succeed_if.so quiet user = gone@example.org\n\
         account sufficient pam_permit.so\naccount required pam_deny.so\n",
    );
    // pam_unix says of users of others that they are unknown, and the next directory is asked.
    service(
        folder.path(),
        "passing",
        "auth sufficient pam_exec.so quiet expose_authtok FOLDER/check\n\
         auth [user_unknown=die default=die] pam_unix.so\naccount required pam_permit.so\n",
    );
    let pam = folder.path().join("pam.d");
    for (service, passes) in [("denying", false), ("passing", true)] {
        let server = Server::asking_pam(&pam, &["pam", "users"], &sections(service, PATIENT_SECONDS), USERS);
        for (user, password) in [ANN, JOERG] {
            assert_eq!(login(&server, user, password), Answer::In, "{user}");
            for wrong in ["wrong", ""] {
                assert_eq!(login(&server, user, wrong), Answer::Wrong, "{user} with {wrong:?}");
            }
        }
        for stranger in ["carl@example.org", "*", "'; id"] {
            assert_eq!(login(&server, stranger, ANN.1), Answer::Wrong, "{stranger}");
        }
        if !passes {
            let closed = login(&server, "gone@example.org", "x");
            assert_eq!(closed, Answer::Wrong, "the password is right, and the account is closed");
        }
        let next = if passes { Answer::In } else { Answer::Wrong };
        assert_eq!(login(&server, USER, PASSWORD), next, "{service}");
        assert!(!server.log().contains(ANN.1), "a password is in the log");
        server.stop();
    }
}

#[test]
fn a_module_that_is_broken_or_hangs_says_try_again() {
    let folder = tempfile::tempdir().unwrap();
    script(folder.path(), "hang", "exec sleep 20\n");
    service(
        folder.path(),
        "hanging",
        "auth required pam_exec.so quiet FOLDER/hang\naccount required pam_permit.so\n",
    );
    service(
        folder.path(),
        "broken",
        "auth required pam_exec.so quiet FOLDER/none\naccount required pam_permit.so\n",
    );
    let pam = folder.path().join("pam.d");
    for service in ["broken", "hanging"] {
        let server = Server::asking_pam(&pam, &["pam", "users"], &sections(service, TIMEOUT_SECONDS), USERS);
        // More than there are threads.
        for _ in 0..4 {
            let begin = Instant::now();
            assert_eq!(login(&server, ANN.0, ANN.1), Answer::Later, "{service}");
            assert!(begin.elapsed().as_secs() < TIMEOUT_SECONDS + 10, "{service}");
        }
        server.stop();
    }
}
