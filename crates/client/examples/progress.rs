//! Fetches everything to nowhere and shows how far it is, with a limit on memory, time and what is under way.
//!
//! ```text
//! POP3_PASSWORD=… cargo run -p restante-client --example progress -- pop3s://john@mail.example.org
//! ```
//!
//! It shows [`Options`]: time limits, the window, a transcript of the session without its secrets in `progress.pop3`.
#![allow(clippy::print_stdout)]

use std::{
    env,
    error::Error,
    fs::File,
    io::{BufWriter, Write},
    time::{Duration, Instant},
};

use restante_client::{Client, Credentials, Options, Timeouts, Transcript, Url, WindowMax};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = Url::parse(&env::args().nth(1).ok_or("a URL, please")?)?;
    let user = url.user.clone().ok_or("the URL names no user")?;
    let password = env::var("POP3_PASSWORD")?;
    let transcript = Transcript::new(|| {
        File::create("progress.pop3").map(|file| Box::new(BufWriter::new(file)) as Box<dyn Write + Send>)
    });
    let options = Options {
        timeouts: Timeouts { answer: Duration::from_secs(20), ..Timeouts::default() },
        window: WindowMax { commands: 32, octets: 4 << 20 },
        transcript: Some(transcript),
        ..Options::default()
    };

    let mut client = Client::connect(&url, &options).await?;
    client.authenticate(&Credentials::new(user, password.into_bytes())).await?;
    if let Some(tls) = client.tls() {
        println!("{} {}", tls.version.as_deref().unwrap_or("TLS"), tls.cipher.as_deref().unwrap_or_default());
    }
    let listing = client.listing().await?;
    // What servers say of sizes is a hint.
    let expected: u64 = listing.entries().iter().filter_map(|entry| entry.octets).sum();
    let (begun, mut octets, mut fetched) = (Instant::now(), 0_u64, 0_usize);
    let mut messages = client.messages(listing.numbers());
    while let Some(mut message) = messages.next().await? {
        while let Some(chunk) = message.chunk().await? {
            octets += chunk.len() as u64;
        }
        fetched += 1;
        let percent = (octets * 100).checked_div(expected).unwrap_or(100).min(100);
        print!("\r{fetched} of {} messages, {octets} octets, {percent} % ", listing.len());
        std::io::stdout().flush()?;
    }
    println!("in {:.1} s", begun.elapsed().as_secs_f64());
    client.quit().await?;
    Ok(())
}
