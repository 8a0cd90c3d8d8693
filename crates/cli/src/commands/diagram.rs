//! `restante diagram`: a session as a sequence diagram, from a packet capture, a dialogue or transcript, or a rawlog. Files
//! and pipes are opened here; what is in them is the crate `restante-diagram`'s business.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use restante_diagram::{
    drawing::{Choice, DrawError, Drawing, Options},
    format::{self, Format, Style},
    row::Summary,
    source::rawlog,
};

use self::input::{Input, Next};
use crate::{
    duration,
    failure::{Failure, Kind},
    output, terminal,
};

mod input;
mod to;

/// Draws a session as a sequence diagram, each step explained, without its secrets
#[derive(clap::Args)]
#[command(after_help = "INPUT is one of:
  a packet capture (pcap, pcapng), or - for one on standard input
  a dialogue or a transcript (docs/dialogue.md), as `fetch --transcript`, `mail --transcript`,
    `play --record` and the server's `[log] transcripts` write them
  one file of a pair of Dovecot's rawlogs: NAME.in and NAME.out

Passwords, digests and tokens are taken out before anything is drawn. Exit status: 0 drawn,
1 failed, 2 wrong usage.

Examples:
  tcpdump -i any -U -w - port 110 | restante diagram -
  restante diagram capture.pcap --list
  restante diagram capture.pcapng --session 3 -o session.html
  restante diagram session.pop3 --format svg > session.svg
  restante diagram 20261128-131500-4711-1.in --anonymous")]
pub(crate) struct Args {
    /// What is drawn; - is standard input
    input: PathBuf,

    /// How it is drawn: text, svg, html, mermaid, json
    #[arg(long, short, value_name = "FORMAT", value_parser = format_of)]
    format: Option<&'static Format>,

    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// Writes to this file; its extension says the format if nothing else does
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Which session of a capture: its number, or `all`
    #[arg(long, short, value_name = "N", value_parser = choice_of)]
    session: Option<Choice>,

    /// Lists the sessions, and draws none
    #[arg(long, short, conflicts_with = "session")]
    list: bool,

    /// Draws every step: long runs of the same commands are not folded into one row
    #[arg(long)]
    unfold: bool,

    /// Shows messages and listings whole, not only how they begin
    #[arg(long)]
    bodies: bool,

    /// Leaves the TCP segments out
    #[arg(long)]
    no_segments: bool,

    /// Leaves the remarks out
    #[arg(long)]
    no_remarks: bool,

    /// Hides user names and addresses too
    #[arg(long)]
    anonymous: bool,

    /// From when on a step counts as slow
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration::parse)]
    slow: Duration,

    /// One more port of servers in a capture; 110, 995, 1110 and 1995 are known, and clear text is found on any
    #[arg(long, value_name = "PORT")]
    port: Vec<u16>,

    /// How many columns the text may have, 60 to 400; else the terminal's, $COLUMNS, or 100
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(60..=400))]
    width: Option<u16>,
}

/// How many columns text has that no terminal shows.
const WIDTH_COLUMNS: usize = 100;

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let format = format_for(&args)?;
    let style = Style {
        width_columns: args.width.map_or_else(columns, usize::from),
        colour: args.output.is_none() && output::stdout_takes_colour(),
        remarks: !args.no_remarks,
        segments: !args.no_segments,
    };
    let options = Options {
        choice: if args.list { Choice::List } else { args.session.unwrap_or_default() },
        fold: !args.unfold,
        whole_bodies: args.bodies,
        hide_names: args.anonymous,
        slow: args.slow,
        slow_client: true,
        ports: args.port.clone(),
    };
    let is_live =
        input::is_stdin(&args.input) && format.name == "text" && args.output.is_none() && !args.list;
    let mut drawing = match is_live && matches!(options.choice, Choice::Single | Choice::All) {
        true => Drawing::live(options, &style),
        false => Drawing::new(options, format, &style),
    };
    let mut to = to::To::new(args.output.as_deref());
    let drawn = draw(&args, &mut drawing, &mut to);
    match drawn {
        Ok(()) if args.list => list(&drawing, format, &style, &mut to)?,
        Err(Stop::Drawing(error @ DrawError::Capture(_)))
            if args.list || (args.session.is_none() && drawing.begun() > 1 && format.name == "text") =>
        {
            list(&drawing, format, &style, &mut to)?;
            return Err(told(&args, error));
        }
        Ok(()) => {}
        Err(Stop::Failed(failure)) => return Err(failure),
        Err(Stop::Drawing(DrawError::Several(sessions)))
            if format.name == "text" && args.output.is_none() =>
        {
            let mut table = Vec::new();
            format::text::list(&sessions, &style, &mut table);
            to.write(&table)?;
            output::eprint(&output::Label::Hint.line(
                "draw one with --session N, or all of them with --session all",
                output::stderr_takes_colour(),
            ));
            return Ok(());
        }
        Err(Stop::Drawing(error)) => return Err(told(&args, error)),
    }
    Ok(())
}

/// Why drawing stopped.
enum Stop {
    Drawing(DrawError),
    Failed(Failure),
}

impl From<DrawError> for Stop {
    fn from(error: DrawError) -> Self {
        Self::Drawing(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// How a drawing looks that grows on standard output.
pub(super) fn live_style(width: Option<u16>) -> Style {
    Style {
        width_columns: width.map_or_else(columns, usize::from),
        colour: output::stdout_takes_colour(),
        remarks: true,
        segments: true,
    }
}

/// How wide the text is where nobody says so: as the terminal; for a pager as the shell says, if it does.
fn columns() -> usize {
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal::columns().or_else(told).unwrap_or(WIDTH_COLUMNS)
}

/// From the input to the output.
fn draw(args: &Args, drawing: &mut Drawing, to: &mut to::To) -> Result<(), Stop> {
    let mut out = Vec::new();
    if let Some(pair) = rawlog::Pair::of(&args.input) {
        return draw_rawlog(&pair, drawing, to);
    }
    let mut input = Input::open(&args.input)?;
    loop {
        let pushed = match input.next()? {
            Next::Octets(octets) => drawing.push(octets, &mut out),
            Next::Nothing => {
                drawing.idle(&mut out);
                Ok(())
            }
            Next::End => break,
        };
        to.write(&out)?;
        out.clear();
        pushed?;
    }
    if input.was_interrupted() && terminal::columns().is_some() && args.output.is_none() {
        to.write(b"\n")?;
    }
    let ended = drawing.end(&mut out);
    to.write(&out)?;
    ended.map_err(Stop::Drawing)
}

/// Two files, which are one session.
fn draw_rawlog(pair: &rawlog::Pair, drawing: &mut Drawing, to: &mut to::To) -> Result<(), Stop> {
    let open = |path: &Path, which| match File::open(path) {
        Ok(file) => Ok(BufReader::new(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::failed(pair.lacks(which).to_string()))
        }
        Err(error) => Err(Failure::failed(format!("cannot open {}: {error}", path.display()))),
    };
    let (in_file, out_file) =
        (open(&pair.in_file, rawlog::File::In)?, open(&pair.out_file, rawlog::File::Out)?);
    let mut out = Vec::new();
    drawing.rawlog(in_file, out_file, &mut out)?;
    let ended = drawing.end(&mut out);
    to.write(&out)?;
    ended.map_err(Stop::Drawing)
}

fn list(drawing: &Drawing, format: &Format, style: &Style, to: &mut to::To) -> Result<(), Failure> {
    let (sessions, mut out) = (drawing.sessions(), Vec::new());
    if format.name == "text" {
        format::text::list(sessions, style, &mut out);
    } else {
        let mut draw = (format.new)(style);
        draw.start(&mut out);
        sessions
            .iter()
            .for_each(|summary: &Summary| draw.session(format::Picture { summary, rows: &[] }, &mut out));
        draw.finish(&mut out);
    }
    to.write(&out)?;
    let more = u64::from(drawing.begun()).saturating_sub(sessions.len() as u64);
    if more > 0 {
        output::warn(&[format!("{more} more sessions are not listed; each can be drawn by its number")]);
    }
    Ok(())
}

/// What went wrong, with what to do about it.
fn told(args: &Args, error: DrawError) -> Failure {
    let name = if input::is_stdin(&args.input) {
        "standard input".to_owned()
    } else {
        args.input.display().to_string()
    };
    let failure = Failure::failed(format!("{name}: {error}"));
    match error {
        DrawError::Several(_) => failure.hint("choose one with --session N, or take all with --session all; --list shows them"),
        DrawError::NoSuchSession { .. } => failure.hint("--list shows which there are"),
        DrawError::NoSession => {
            failure.hint("in a capture POP3 is looked for on ports 110, 995, 1110 and 1995, and wherever a server greets with +OK; name another port with --port")
        }
        DrawError::TooMuch => failure.hint("choose one session with --session N, and leave --unfold and --bodies out"),
        DrawError::Dialogue(_) => {
            failure.hint("this is read as a dialogue (docs/dialogue.md), since it is no packet capture (pcap, pcapng)")
        }
        DrawError::Capture(_) | DrawError::Rawlog(_) => failure,
    }
}

/// The format that is asked for, or that the output's name tells.
fn format_for(args: &Args) -> Result<&'static Format, Failure> {
    let named = |name: &str| {
        format::by_name(name)
            .ok_or_else(|| Failure::failed(format!("there is no format {name}")).with_kind(Kind::Usage))
    };
    match (args.format, &args.output) {
        (Some(format), _) => Ok(format),
        (None, _) if args.json => named("json"),
        (None, None) => named("text"),
        (None, Some(output)) => {
            let extension = output.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            let fits = |format: &&Format| {
                format.extensions.iter().any(|known| known.eq_ignore_ascii_case(extension))
            };
            format::FORMATS.iter().find(fits).ok_or_else(|| {
                Failure::usage(format!("{} does not say which format it should have", output.display()))
                    .hint(format!("name it with --format: {}", names()))
            })
        }
    }
}

fn names() -> String {
    format::FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", ")
}

fn format_of(name: &str) -> Result<&'static Format, String> {
    format::by_name(name).ok_or_else(|| format!("the formats are {}", names()))
}

fn choice_of(text: &str) -> Result<Choice, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Choice::All),
        (_, Ok(number)) if number > 0 => Ok(Choice::Number(number)),
        _ => Err("write a session's number, from 1, or `all`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_format() {
        use clap::Args as _;
        let command = Args::augment_args(clap::Command::new("diagram"));
        let help = command.get_arguments().find(|argument| argument.get_id() == "format").unwrap();
        assert!(help.get_help().unwrap().to_string().ends_with(&names()));
    }
}
