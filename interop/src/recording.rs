//! tcpdump on the loopback interface while a session runs, and tshark's word on what it captured: the oracle for what
//! `restante diagram` says of TCP. Captures can be edited, since real loss cannot be had on every machine.
//!
//! Who runs it must be allowed to capture: root, or who has the right by `setcap cap_net_raw+ep` on tcpdump.

use std::{
    fs,
    fs::File,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Outcome, Program, poll};

/// The length of a pcap file's header, and of the one of each packet, in octets.
const HEADER_OCTETS: usize = 24;
const PACKET_HEADER_OCTETS: usize = 16;

/// What the last packet of a recording holds: once it is in the file, all packets before it are.
const MARK: &[u8] = b"the recording may end here";

/// tcpdump at work; it is ended when it is dropped.
#[derive(Debug)]
pub struct Recording {
    child: Child,
    file: PathBuf,
    words: PathBuf,
    mark: UdpSocket,
}

impl Recording {
    /// Records what passes to and from these ports into a file of this folder, from now on.
    pub fn start(folder: &Path, name: &str, ports: &[u16]) -> Self {
        let mark = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let marked = mark.local_addr().expect("it is bound").port();
        let ports = ports.iter().map(|port| format!("tcp port {port}"));
        let filter = ports.chain([format!("udp port {marked}")]).collect::<Vec<_>>().join(" or ");
        let (file, words) = (folder.join(format!("{name}.pcap")), folder.join(format!("{name}.words")));
        let mut command = Command::new("tcpdump");
        command.args(["-i", "lo", "-n", "-U", "--immediate-mode", "-s", "0", "-B", "32768", "-w"]).arg(&file);
        if crate::program::is_root() {
            // It would become another user, who may not write here.
            command.args(["-Z", "root"]);
        }
        let child = command
            .arg(filter)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&words).expect("it is ours"))
            .spawn()
            .unwrap_or_else(|error| {
                panic!("tcpdump does not run ({error})\n  install it:  apt-get install tcpdump")
            });
        let mut recording = Self { child, file, words, mark };
        let listening = poll::until(|| match recording.words().contains("listening on") {
            true => Some(true),
            false => recording.child.try_wait().expect("it is our child").map(|_| false),
        });
        assert_eq!(listening, Some(true), "tcpdump does not capture: {}", recording.words());
        recording
    }

    fn words(&self) -> String {
        fs::read_to_string(&self.words).unwrap_or_default()
    }

    /// What was written so far.
    pub fn so_far(&self) -> Vec<u8> {
        fs::read(&self.file).unwrap_or_default()
    }

    /// Ends it once everything is written that passed so far.
    pub fn stop(mut self) -> Capture {
        let address = self.mark.local_addr().expect("it is bound");
        self.mark.send_to(MARK, address).expect("loopback takes it");
        let written = poll::until(|| {
            let end = self.so_far();
            let end = end.get(end.len().saturating_sub(256)..).unwrap_or_default();
            end.windows(MARK.len()).any(|window| window == MARK).then_some(())
        });
        assert!(written.is_some(), "tcpdump does not write what passes: {}", self.words());
        let status = self.interrupt();
        assert!(status.is_some_and(|status| status.success()), "tcpdump ended with {status:?}");
        let words = self.words();
        assert!(words.contains("\n0 packets dropped by kernel"), "packets were lost: {words}");
        Capture { file: self.file.clone() }
    }

    fn interrupt(&mut self) -> Option<std::process::ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)?;
        kill_process(pid, Signal::INT).ok()?;
        poll::until(|| self.child.try_wait().ok()?)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if self.interrupt().is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// A capture file.
#[derive(Clone, Debug)]
pub struct Capture {
    file: PathBuf,
}

/// A TCP segment, as tshark or `restante diagram` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Microseconds since the connection's first.
    pub at: u64,
    /// The client sent it.
    pub from_client: bool,
    /// Its flags, of SYN, FIN, RST, PSH and ACK, in this order.
    pub flags: Vec<&'static str>,
    /// Its relative sequence number.
    pub seq: u64,
    /// Its relative acknowledgement number, where it has one.
    pub ack: Option<u64>,
    /// How many octets it carries.
    pub octets: u64,
}

/// Flags in the order in which `restante diagram` tells them, with their bits (RFC 9293 §3.1).
const FLAGS: [(&str, u64); 5] = [("SYN", 2), ("FIN", 1), ("RST", 4), ("PSH", 8), ("ACK", 16)];

impl Capture {
    /// Its file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The packets of it, each with its header.
    fn packets(octets: &[u8]) -> Vec<&[u8]> {
        let mut rest = octets.get(HEADER_OCTETS..).expect("a pcap file");
        let mut packets = Vec::new();
        while let Some(length) = rest.get(8..12) {
            let length = u32::from_ne_bytes(length.try_into().expect("four octets")) as usize;
            let (packet, behind) = rest.split_at(PACKET_HEADER_OCTETS + length);
            packets.push(packet);
            rest = behind;
        }
        packets
    }

    /// The same capture with other packets: what this makes of them.
    pub fn edited(&self, name: &str, edit: impl FnOnce(&mut Vec<&[u8]>)) -> Self {
        let octets = fs::read(&self.file).expect("it is ours");
        let mut packets = Self::packets(&octets);
        edit(&mut packets);
        let file = self.file.with_file_name(format!("{name}.pcap"));
        fs::write(&file, [&octets[..HEADER_OCTETS], &packets.concat()].concat()).expect("it is ours");
        Self { file }
    }

    /// What tshark says of the connections, in order. The server is at one of these ports.
    pub fn tshark(&self, ports: &[u16]) -> Vec<Vec<Segment>> {
        let folder = self.file.parent().expect("it is in a folder");
        let copy = readable(&self.file);
        let fields =
            ["tcp.stream", "tcp.time_relative", "tcp.srcport", "tcp.flags", "tcp.seq", "tcp.ack", "tcp.len"];
        let outcome = Program::new("tshark", "tshark", folder)
            .args(["-o", "tcp.relative_sequence_numbers:TRUE", "-o", "tcp.calculate_timestamps:TRUE"])
            .args(["-Y", "tcp", "-T", "fields"])
            .args(fields.into_iter().flat_map(|field| ["-e", field]))
            .arg("-r")
            .arg(copy)
            .run()
            .succeeded();
        let mut connections: Vec<Vec<Segment>> = Vec::new();
        for line in outcome.text().lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            let [stream, at, port, flags, seq, ack, octets] = columns[..] else { panic!("{line:?}") };
            let stream: usize = stream.parse().expect("a number");
            if stream == connections.len() {
                connections.push(Vec::new());
            }
            let bits = u64::from_str_radix(flags.trim_start_matches("0x"), 16).expect("flags");
            let flags: Vec<_> =
                FLAGS.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| *name).collect();
            connections[stream].push(Segment {
                at: microseconds(at),
                from_client: !ports.contains(&port.parse().expect("a port")),
                seq: seq.parse().expect("a number"),
                ack: flags.contains(&"ACK").then(|| ack.parse().expect("a number")),
                octets: octets.parse().expect("a number"),
                flags,
            });
        }
        connections
    }

    /// What `restante diagram` says of a session, as JSON.
    pub fn diagram(&self, ports: &[u16], session: usize) -> Outcome {
        let mut program =
            Program::ours(self.file.parent().expect("it is in a folder")).arg("diagram").arg(&self.file);
        for port in ports {
            program = program.args(["--port", &port.to_string()]);
        }
        program.args(["--format", "json", "--unfold", "--session", &session.to_string()]).run().succeeded()
    }

    /// What `restante diagram` says of a session's segments.
    pub fn restante(&self, ports: &[u16], session: usize) -> Vec<Segment> {
        let text = self.diagram(ports, session).text();
        let told: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"));
        let segments = find(&told, "segments").unwrap_or_else(|| panic!("no segments: {text}"));
        let segments = segments.as_array().expect("a list").iter().enumerate();
        let number =
            |segment: &Value, key| segment[key].as_u64().unwrap_or_else(|| panic!("{key}: {segment}"));
        let segments = segments.map(|(place, segment)| {
            assert_eq!(number(segment, "n"), place as u64 + 1);
            let flags = segment["flags"].as_array().expect("a list");
            let flags = flags.iter().map(|flag| {
                let known = FLAGS.iter().find(|(name, _)| flag == name);
                known.unwrap_or_else(|| panic!("an unknown flag: {flag}")).0
            });
            Segment {
                at: (segment["at"].as_f64().expect("seconds") * 1e6).round() as u64,
                from_client: segment["from"] == "client",
                flags: flags.collect(),
                seq: number(segment, "seq"),
                ack: segment["ack"].as_u64(),
                octets: number(segment, "octets"),
            }
        });
        segments.collect()
    }

    /// Fails the test unless both say the same of every connection; gives how many there are.
    #[track_caller]
    pub fn agrees(&self, ports: &[u16]) -> usize {
        let oracle = self.tshark(ports);
        for (place, expected) in oracle.iter().enumerate() {
            let told = self.restante(ports, place + 1);
            let differs = told.iter().zip(expected).position(|(told, expected)| told != expected);
            if let Some(at) = differs {
                panic!(
                    "segment {} of session {}: {:?}, tshark: {:?}",
                    at + 1,
                    place + 1,
                    told[at],
                    expected[at]
                );
            }
            assert_eq!(told.len(), expected.len(), "the segments of session {}", place + 1);
        }
        oracle.len()
    }
}

/// A copy that a program may read that runs as nobody.
fn readable(file: &Path) -> PathBuf {
    let copy = file.with_extension("copy");
    fs::copy(file, &copy).expect("it is ours");
    fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("it is ours");
    copy
}

/// Seconds with digits behind the point, as microseconds.
fn microseconds(seconds: &str) -> u64 {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    whole.parse::<u64>().expect("seconds") * 1_000_000 + fraction.parse::<u64>().expect("a fraction")
}

/// The value of this key, wherever it stands first.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => {
            fields.get(key).or_else(|| fields.values().find_map(|value| find(value, key)))
        }
        Value::Array(values) => values.iter().find_map(|value| find(value, key)),
        _ => None,
    }
}
