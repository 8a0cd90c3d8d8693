//! One session: what is said, how long each step takes, and whether what comes back is what was announced.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use restante_proto::{MessageNumber, command::Command};
use rustls::ClientConfig;

use super::{
    connection::{Connection, Secured},
    load::Run,
    plan::{Mode, Plan},
    tally::{ErrorKind, Problem, Record, Step},
};
use restante_client::Security;

/// How many times a client keeps before it hands them on.
const TIMES_KEPT_MAX: usize = 4096;

/// A step that failed, which ends a session.
pub(super) type Failed = (Step, Problem);

/// One after another of a client's sessions.
pub(super) struct Client {
    run: Arc<Run>,
    tls: Option<Arc<ClientConfig>>,
    pub(super) record: Record,
    /// When the session was due that is had now.
    due: Option<Instant>,
}

/// What STAT said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    messages: u32,
    octets: u64,
}

impl Client {
    pub(super) fn new(run: &Arc<Run>) -> Self {
        Self { run: Arc::clone(run), tls: run.plan.tls_of_a_client(), record: Record::default(), due: None }
    }

    /// Hands on what was counted.
    pub(super) fn tell(&mut self) {
        self.run.tally().take(&mut self.record);
    }

    /// A whole session, which may have been due earlier.
    pub(super) async fn session(&mut self, user: &str, due: Option<Instant>) -> Result<(), Failed> {
        let run = Arc::clone(&self.run);
        self.due = due;
        let (plan, begun) = (&run.plan, Instant::now());
        let (mut connection, _) = self.open().await?;
        self.login(&mut connection, user).await?;
        let stat = self.stat(&mut connection).await?;
        let wanted = match plan.mode {
            Mode::Retr => stat.messages,
            Mode::Sessions | Mode::List | Mode::Idle | Mode::Slow => plan.retr,
        };
        let mut sizes = Vec::new();
        if plan.mode != Mode::Retr {
            self.uidl(&mut connection, stat).await?;
            sizes = self.list(&mut connection, stat, wanted).await?;
        }
        if wanted > stat.messages {
            let told = format!("{wanted} messages are to be retrieved, the drop has {}", stat.messages);
            self.record.errors.add(Step::Retr, Problem::new(ErrorKind::TooFew, told));
        }
        self.retrieve(&mut connection, wanted.min(stat.messages), &sizes).await?;
        self.quit(connection, begun).await
    }

    /// Connects, up to the greeting and TLS.
    pub(super) async fn open(&mut self) -> Result<(Connection, Option<Secured>), Failed> {
        let run = Arc::clone(&self.run);
        let plan = &run.plan;
        let opening = Connection::open(plan, run.source());
        let mut connection = timed(&mut self.record, Step::Connect, opening).await?;
        let mut secured = None;
        if plan.url.security == Security::Implicit {
            secured = self.secure(plan, &mut connection).await?;
        }
        timed(&mut self.record, Step::Greeting, connection.status()).await?;
        if plan.url.security == Security::Stls {
            secured = self.secure(plan, &mut connection).await?;
        }
        Ok((connection, secured))
    }

    async fn secure(&mut self, plan: &Plan, connection: &mut Connection) -> Result<Option<Secured>, Failed> {
        let Some(config) = &self.tls else { return Ok(None) };
        let secured = timed(&mut self.record, Step::Tls, async {
            if plan.url.security == Security::Stls {
                ask(connection, &Command::Stls).await?;
            }
            connection.secure(plan, config).await
        })
        .await?;
        match secured.resumed {
            true => self.record.counts.handshakes_resumed += 1,
            false => self.record.counts.handshakes_full += 1,
        }
        self.record.counts.requests += u64::from(plan.url.security == Security::Stls);
        Ok(Some(secured))
    }

    pub(super) async fn login(&mut self, connection: &mut Connection, user: &str) -> Result<(), Failed> {
        let pass = &self.run.plan.pass;
        let login = timed(&mut self.record, Step::Login, async {
            ask(connection, &Command::User(user)).await?;
            connection.send(pass.expose()).await?;
            connection.status().await
        });
        // What a server says to a password may hold it.
        login.await.map_err(|(step, problem)| match problem.kind {
            ErrorKind::Refused(_) | ErrorKind::Nonsense => (step, Problem::new(problem.kind, "")),
            _ => (step, problem),
        })?;
        self.record.counts.requests += 2;
        Ok(())
    }

    async fn stat(&mut self, connection: &mut Connection) -> Result<Stat, Failed> {
        let stat = timed(&mut self.record, Step::Stat, async {
            let text = ask(connection, &Command::Stat).await?;
            read_stat(&text).ok_or_else(|| Problem::new(ErrorKind::Nonsense, text))
        })
        .await?;
        self.record.counts.requests += 1;
        Ok(stat)
    }

    async fn uidl(&mut self, connection: &mut Connection, stat: Stat) -> Result<(), Failed> {
        let mut lines = 0;
        timed(&mut self.record, Step::Uidl, async {
            ask(connection, &Command::Uidl(None)).await?;
            listing(connection, &mut lines, |id| !id.is_empty()).await
        })
        .await?;
        self.listed(Step::Uidl, stat, lines);
        Ok(())
    }

    /// The sizes of so many first messages.
    async fn list(&mut self, connection: &mut Connection, stat: Stat, kept: u32) -> Result<Vec<u64>, Failed> {
        let (mut lines, mut sizes, mut octets) = (0, Vec::new(), 0_u64);
        timed(&mut self.record, Step::List, async {
            ask(connection, &Command::List(None)).await?;
            listing(connection, &mut lines, |size| {
                let Some(size) = number(size) else { return false };
                octets = octets.saturating_add(size);
                if sizes.len() < kept as usize {
                    sizes.push(size);
                }
                true
            })
            .await
        })
        .await?;
        self.listed(Step::List, stat, lines);
        if lines == u64::from(stat.messages) && octets != stat.octets {
            let told = format!("STAT says {} octets, LIST {octets}", stat.octets);
            self.record.errors.add(Step::List, Problem::new(ErrorKind::Count, told));
        }
        Ok(sizes)
    }

    fn listed(&mut self, step: Step, stat: Stat, lines: u64) {
        self.record.counts.requests += 1;
        self.record.counts.listed += lines;
        if lines != u64::from(stat.messages) {
            let told = format!("STAT says {} messages, {lines} are listed", stat.messages);
            self.record.errors.add(step, Problem::new(ErrorKind::Count, told));
        }
    }

    /// Retrieves the first messages, as many commands under way as the plan says. A session
    /// that downloads a whole drop ends early where the run does.
    async fn retrieve(
        &mut self,
        connection: &mut Connection,
        messages: u32,
        sizes: &[u64],
    ) -> Result<(), Failed> {
        let run = Arc::clone(&self.run);
        let failed = |problem| (Step::Retr, problem);
        let may_ask = || run.plan.mode != Mode::Retr || !run.is_over();
        let (mut asked, mut commands) = (0, Vec::new());
        let mut under_way = VecDeque::new();
        let mut last = Instant::now();
        for answered in 0..messages {
            // Commands leave in batches: when half of the pipeline is empty it is filled again.
            if under_way.len() <= (run.plan.pipeline / 2) as usize && may_ask() {
                commands.clear();
                while asked < messages && under_way.len() < run.plan.pipeline as usize {
                    let Some(number) = MessageNumber::from_index(asked) else { break };
                    Command::Retr(number).write(&mut commands);
                    under_way.push_back(Instant::now());
                    asked += 1;
                }
                if !commands.is_empty() {
                    connection.send(&commands).await.map_err(failed)?;
                }
            }
            let Some(sent) = under_way.pop_front() else {
                self.record.counts.sessions_cut += 1;
                break;
            };
            let text = connection.status().await.map_err(failed)?;
            let octets = connection.message().await.map_err(failed)?;
            let now = Instant::now();
            // A message that waited behind another one is timed from that one's end.
            self.record.times.push((Step::Retr, now.saturating_duration_since(sent.max(last))));
            last = now;
            self.check(answered, announced(&text).or_else(|| sizes.get(answered as usize).copied()), octets);
            if self.record.times.len() >= TIMES_KEPT_MAX {
                self.tell();
            }
        }
        Ok(())
    }

    /// Asks for the first message; how it comes is the caller's matter.
    pub(super) async fn ask_for_first(&mut self, connection: &mut Connection) -> Result<(), Failed> {
        let asked = async {
            let mut line = Vec::with_capacity(16);
            if let Some(first) = MessageNumber::from_index(0) {
                Command::Retr(first).write(&mut line);
            }
            connection.send(&line).await?;
            connection.status().await
        };
        asked.await.map_err(|problem| (Step::Retr, problem))?;
        self.record.counts.requests += 1;
        Ok(())
    }

    /// Whether a message has the octets that were announced.
    fn check(&mut self, index: u32, announced: Option<u64>, octets: u64) {
        let counts = &mut self.record.counts;
        counts.requests += 1;
        counts.messages += 1;
        counts.octets += octets;
        match announced {
            None => counts.unannounced += 1,
            Some(announced) if announced == octets => {}
            Some(announced) => {
                let told = format!(
                    "message {} was announced with {announced} octets and has {octets}",
                    u64::from(index) + 1
                );
                self.record.errors.add(Step::Retr, Problem::new(ErrorKind::Octets, told));
            }
        }
    }

    /// Takes leave, and waits until the server is through with the session.
    pub(super) async fn quit(&mut self, mut connection: Connection, begun: Instant) -> Result<(), Failed> {
        timed(&mut self.record, Step::Quit, ask(&mut connection, &Command::Quit)).await?;
        self.record.counts.requests += 1;
        self.record.times.push((Step::Session, begun.elapsed()));
        if let Some(due) = self.due.take() {
            self.record.times.push((Step::Due, due.elapsed()));
        }
        connection.closed().await;
        Ok(())
    }
}

/// Does one step and keeps its time.
async fn timed<T>(
    record: &mut Record,
    step: Step,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Failed> {
    let begun = Instant::now();
    let done = work.await.map_err(|problem| (step, problem))?;
    let took: Duration = begun.elapsed();
    record.times.push((step, took));
    Ok(done)
}

async fn ask(connection: &mut Connection, command: &Command<'_>) -> Result<String, Problem> {
    let mut line = Vec::with_capacity(64);
    command.write(&mut line);
    connection.send(&line).await?;
    connection.status().await
}

/// Reads the block of UIDL or LIST: lines with the numbers 1, 2, 3…, each with what `is_right` takes.
async fn listing(
    connection: &mut Connection,
    lines: &mut u64,
    mut is_right: impl FnMut(&[u8]) -> bool,
) -> Result<(), Problem> {
    loop {
        let line = connection.line().await?;
        if line == b"." {
            return Ok(());
        }
        *lines += 1;
        let space = line.iter().position(|&octet| octet == b' ');
        let right = space.is_some_and(|at| number(&line[..at]) == Some(*lines) && is_right(&line[at + 1..]));
        if !right {
            return Err(Problem::new(ErrorKind::Nonsense, String::from_utf8_lossy(line)));
        }
    }
}

/// A decimal number, and nothing else but what some servers put behind it.
fn number(octets: &[u8]) -> Option<u64> {
    let octets = octets.split(|&octet| octet == b' ').next()?;
    let digit = |octet: &u8| octet.is_ascii_digit().then(|| u64::from(octet - b'0'));
    let add = |number: u64, octet| number.checked_mul(10)?.checked_add(digit(octet)?);
    if octets.is_empty() { None } else { octets.iter().try_fold(0, add) }
}

fn read_stat(text: &str) -> Option<Stat> {
    let mut words = text.split_ascii_whitespace();
    let messages = u32::try_from(number(words.next()?.as_bytes())?).ok()?;
    Some(Stat { messages, octets: number(words.next()?.as_bytes())? })
}

/// The number in front of `octets`, as most servers announce a message's length; the RFC's example does so, but no
/// rule (RFC 1939 §5).
fn announced(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.split_ascii_whitespace().map(|word| word.trim_matches(['(', ')'])).collect();
    let pair = words.windows(2).find(|pair| pair[1].to_ascii_lowercase().starts_with("octet"));
    number(pair?[0].as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_of_many_servers_are_read() {
        assert_eq!(announced("1317 octets"), Some(1317));
        assert_eq!(announced("120 octets follow."), Some(120));
        assert_eq!(announced("message 1 (1317 octets)"), Some(1317));
        assert_eq!(announced("Message follows"), None);
        assert_eq!(announced("many octets"), None);
        assert_eq!(announced(""), None);
    }

    #[test]
    fn stat_is_two_numbers() {
        assert_eq!(read_stat("2 320"), Some(Stat { messages: 2, octets: 320 }));
        assert_eq!(read_stat("0 0 of all"), Some(Stat { messages: 0, octets: 0 }));
        for wrong in ["", "2", "x 1", "1 -1", "4294967296 1", "1 99999999999999999999"] {
            assert_eq!(read_stat(wrong), None, "{wrong}");
        }
    }
}
