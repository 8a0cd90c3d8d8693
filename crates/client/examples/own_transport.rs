//! A session over a byte stream of one's own: here a Unix socket, such as the end of a tunnel.
//!
//! ```text
//! ssh -N -L /tmp/pop3.sock:localhost:110 mail.example.org &
//! POP3_PASSWORD=… cargo run -p restante-client --example own_transport -- /tmp/pop3.sock john
//! ```
//!
//! It shows [`Client::over`], which takes anything that reads and writes: a child's pipes and a proxy's stream go as well.
//! Nobody but ourselves and ssh sees the octets, so the password may go in clear text, which has to be said. TLS works over
//! any stream too: then the name is the one that the certificate must have.
#![allow(clippy::print_stdout)]

#[cfg(unix)]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::env;

    use restante_client::{Client, Credentials, Options, Security};
    use tokio::net::UnixStream;

    let mut arguments = env::args().skip(1);
    let socket = arguments.next().ok_or("the path of a socket, please")?;
    let user = arguments.next().ok_or("a user, please")?;
    let password = env::var("POP3_PASSWORD")?;

    let stream = UnixStream::connect(socket).await?;
    let options = Options { cleartext_passwords: true, ..Options::default() };
    let mut client = Client::over(stream, "mail.example.org", Security::None, &options).await?;
    client.authenticate(&Credentials::new(user, password.into_bytes())).await?;
    let stat = client.stat().await?;
    println!("{} messages, {} octets", stat.messages, stat.octets);
    client.quit().await?;
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("There are no Unix sockets here; Client::over takes any other stream.");
}
