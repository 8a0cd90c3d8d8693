//! How much memory a large message and a large journal take. The numbers are printed; a bound is far above them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod engine;
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener},
    thread,
};

use engine::{account, destination, quick_folder};
use restante_fetch::{
    Keep,
    destination::Token,
    journal::{Journal, Key, Record},
};
use support::{child, the_childs_root};

/// How long the message is, in MiB.
const MESSAGE_MIB: usize = 300;

/// How much a run may take beyond what it takes without the message, in KiB.
const GROWTH_MAX_KIB: u64 = 32 * 1024;

/// Tells the child how many MiB the message has.
const MIB: &str = "RESTANTE_TEST_MIB";

/// The most that this process had in memory at a time, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A server with one message of so many MiB, which it makes up as it goes.
fn serve(listener: &TcpListener, mib: usize) {
    let (socket, _) = listener.accept().unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    let mut out = socket;
    out.write_all(b"+OK\r\n").unwrap();
    let chunk = "This is a line of a very long message, and so it goes on.\r\n".len();
    let line = "This is a line of a very long message, and so it goes on.\r\n".repeat(1024);
    let times = (mib << 20).div_ceil(chunk * 1024);
    let octets = times * chunk * 1024;
    while let Some(Ok(command)) = lines.next() {
        match command.split(' ').next().unwrap() {
            "CAPA" => out.write_all(b"+OK\r\nUIDL\r\nTOP\r\nUSER\r\nPIPELINING\r\n.\r\n").unwrap(),
            "STAT" => write!(out, "+OK 1 {octets}\r\n").unwrap(),
            "LIST" => write!(out, "+OK\r\n1 {octets}\r\n.\r\n").unwrap(),
            "UIDL" => out.write_all(b"+OK\r\n1 large\r\n.\r\n").unwrap(),
            "RETR" => {
                out.write_all(b"+OK\r\n").unwrap();
                (0..times).for_each(|_| out.write_all(line.as_bytes()).unwrap());
                out.write_all(b".\r\n").unwrap();
            }
            "QUIT" => return out.write_all(b"+OK\r\n").unwrap(),
            _ => out.write_all(b"+OK\r\n").unwrap(),
        }
    }
}

/// A process of its own, so that its peak is that of one run.
#[test]
fn a_childs_run() {
    let Some(root) = the_childs_root() else { return };
    let mib: usize = std::env::var(MIB).unwrap().parse().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = listener.local_addr().unwrap();
    let serving = thread::spawn(move || serve(&listener, mib));
    let place = destination(&format!("eml:{}", root.join("eml").display()));
    let mut account = account(server, place, &root, Keep::No);
    account.options.timeouts.answer = std::time::Duration::from_secs(600);
    let ran = engine::run(&account);
    assert_eq!(ran.summary().deleted, 1, "{}", ran.told());
    assert_eq!(ran.summary().octets >> 20, mib as u64);
    serving.join().unwrap();
    println!("peak {}", peak_kib());
}

fn peak_of(mib: usize) -> u64 {
    // On a disk: in memory it would count.
    let folder = tempfile::tempdir().unwrap();
    let output = child("a_childs_run", folder.path()).env(MIB, mib.to_string()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let peak = text.lines().find_map(|line| line.split_once("peak ")?.1.parse().ok());
    peak.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_large_message_takes_no_more_memory_than_a_small_one() {
    let (small, large) = (peak_of(1), peak_of(MESSAGE_MIB));
    println!("a message of 1 MiB: {small} KiB at most; of {MESSAGE_MIB} MiB: {large} KiB");
    assert!(large < small + GROWTH_MAX_KIB, "{small} KiB became {large} KiB");
}

#[test]
fn a_journal_of_many_messages_is_small() {
    const MESSAGES: u32 = 20_000;
    let folder = quick_folder();
    let path = folder.path().join("journal");
    let mut journal = Journal::open(&path).unwrap();
    let records: Vec<Record> = (0..MESSAGES)
        .flat_map(|n| {
            let mut digest = [7; 32];
            digest[..4].copy_from_slice(&n.to_le_bytes());
            let key = Key::of_content(&digest, 1);
            let intent = Record::Intent {
                key: key.clone(),
                octets: 5000,
                listed: Some(5000),
                digest,
                header: Some([n.to_le_bytes()[0]; 16]),
                token: Token::new("1795863923.M454125P12939_0Rc88015c5ba82.vm").unwrap(),
                at: 1_795_863_923,
            };
            [intent, Record::Delivered { key, at: 1_795_863_923 }]
        })
        .collect();
    journal.append_durably(&records).unwrap();
    drop((journal, records));
    let on_disk = fs::metadata(&path).unwrap().len();
    let begun = std::time::Instant::now();
    let journal = Journal::open(&path).unwrap();
    let took = begun.elapsed();
    assert_eq!(journal.state().len(), MESSAGES as usize);
    println!("{} octets of journal a message; opened in {took:?}", on_disk / u64::from(MESSAGES));
    assert!(on_disk / u64::from(MESSAGES) < 500);
}
