//! What a login costs where the index has to be read, for `cargo xtask instructions`: the state file parsed and checked,
//! and the sizes and unique-ids taken from it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // what does not go as planned is to be seen

use std::process::ExitCode;

use restante_proto::UserName;
use restante_store::{
    MaildirStore, Maildrop, Store,
    maildir::{Options, STATE_FILE, state::State},
};
use restante_testkit::loops::{self, Loop, Round};

const MESSAGES: u64 = 1000;

const LOOPS: &[Loop] = &[
    Loop { name: "index-load", unit: "message", units: MESSAGES, prepare: load },
    Loop { name: "unique-ids", unit: "message", units: MESSAGES, prepare: unique_ids },
];

fn main() -> ExitCode {
    loops::main(LOOPS)
}

/// A maildrop whose messages say their sizes in their names; and its folder, which is removed when it is dropped.
fn open() -> (tempfile::TempDir, Box<dyn Maildrop>) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["new", "cur"] {
        std::fs::create_dir_all(folder.path().join("john").join(name)).unwrap();
    }
    for n in 0..MESSAGES {
        let name = format!("{}.M{n}P{n}.host,S=11,W=12:2,S", 1_700_000_000 + n);
        std::fs::write(folder.path().join("john/cur").join(name), "Subject: a\n").unwrap();
    }
    let template = format!("{}/{{user}}", folder.path().display()).parse().unwrap();
    let store = MaildirStore::new(template, Options::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let drop = runtime.block_on(async { store.open(&UserName::new("john").unwrap()).await.unwrap() });
    (folder, drop)
}

fn load() -> Round {
    let (folder, drop) = open();
    std::mem::drop(drop);
    let octets = std::fs::read(folder.path().join("john").join(STATE_FILE)).unwrap();
    Box::new(move || assert_eq!(State::parse(&octets).unwrap().len() as u64, MESSAGES))
}

fn unique_ids() -> Round {
    let (_folder, mut drop) = open();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    Box::new(move || {
        let page = runtime.block_on(drop.unique_ids(0..u32::try_from(MESSAGES).unwrap())).unwrap();
        assert_eq!(page.len() as u64, MESSAGES);
    })
}
