//! The delaying proxy as a program, for benchmarks that run other people's clients through it: it prints the address on
//! which it listens, and ends when its standard input does.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program that speaks to another one

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, ToSocketAddrs},
    process::ExitCode,
    time::Duration,
};

use restante_testkit::proxy::{Plan, Proxy};

const USAGE: &str =
    "usage: delay-proxy --to HOST:PORT [--listen 127.0.0.1:0] [--delay-ms 0] [--octets-per-second N]";

/// What the arguments say.
struct Wanted {
    listen: SocketAddr,
    to: SocketAddr,
    plan: Plan,
}

fn main() -> ExitCode {
    let wanted = match read_arguments(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(fault) => {
            eprintln!("delay-proxy: {fault}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("delay-proxy: {}: {fault}", wanted.listen);
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: &Wanted) -> io::Result<()> {
    let proxy = Proxy::listen(wanted.listen, wanted.to, wanted.plan)?;
    println!("{}", proxy.address());
    io::stdout().flush()?;
    let mut input = io::stdin().lock();
    let mut unread = [0; 512];
    while input.read(&mut unread)? > 0 {}
    Ok(())
}

fn read_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut listen = address("127.0.0.1:0")?;
    let mut to = None;
    let mut plan = Plan::default();
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} {value}: not a number"));
        match name.as_str() {
            "--listen" => listen = address(&value)?,
            "--to" => to = Some(address(&value)?),
            "--delay-ms" => plan.delay_each_way = Duration::from_millis(number()?),
            "--octets-per-second" => plan.octets_per_second = Some(number()?),
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(Wanted { listen, to: to.ok_or("--to is missing")?, plan })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|fault| format!("{text}: {fault}"))?;
    found.next().ok_or_else(|| format!("{text} has no address"))
}
