//! The client's lines: commands, and its part of SASL exchanges.

use std::time::Duration;

use restante_proto::{
    command::Command,
    dialogue::{Line, Mark, Piece, Role, Side, Slot},
    phase::{Phase, TRANSITIONS},
    verb::Verb,
};

use super::{Draft, EXCHANGES_MAX, Exchange, Fields, Stls, Trace, remarks};
use crate::{
    anomaly::Anomaly,
    fold::Topic,
    heard::Span,
    row::{Row, RowKind},
    words,
};

/// Mechanisms that send what the password is as good as.
const CLEAR_MECHANISMS: [&str; 4] = ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"];

impl Trace {
    pub(super) fn client_line(
        &mut self,
        at: Option<Duration>,
        line: &Line<Slot>,
        role: Option<Role>,
        span: Option<Span>,
        rows: &mut Vec<Row>,
    ) {
        let label = words::line(line);
        let at = self.passed(at, span);
        let wait = self.waited(Side::Client, at);
        let mut draft = match role {
            Some(Role::Command { verb }) => self.command(label, verb),
            Some(Role::Response) => self.response(label),
            _ => self.unknown(Side::Client, label),
        };
        if ends_in_bare_lf(line) {
            draft.find(Anomaly::BareLf, "The line ends in LF alone.");
        }
        draft.wait = wait;
        self.slow(&mut draft, Side::Client);
        self.speak(Side::Client, at, span);
        let said = self.spoke[0];
        if let (Some(Role::Command { .. }), Some(exchange)) = (role, self.exchanges.back_mut()) {
            exchange.said = said;
        }
        self.row(at, draft, span, rows);
    }

    fn command(&mut self, label: String, verb: Option<Verb>) -> Draft {
        self.summary.commands += 1;
        let parsed = Command::parse(label.as_bytes()).ok();
        let mut fields = Fields::default();
        let mut number = None;
        match &parsed {
            Some(Command::Dele(n) | Command::Retr(n) | Command::List(Some(n)) | Command::Uidl(Some(n))) => {
                number = Some(n.get());
            }
            Some(Command::Top(n, lines)) => {
                number = Some(n.get());
                fields.lines = Some(*lines);
            }
            _ => {}
        }
        fields.number = number.map(u64::from);
        let argument =
            label.split_once(' ').map(|(_, argument)| argument.trim()).filter(|text| !text.is_empty());
        let word =
            argument.and_then(|argument| argument.split(' ').next()).filter(|word| *word != words::SECRET);
        match (verb, word) {
            (Some(Verb::User), Some(name)) => {
                self.names.learn(name);
                self.named = Some(self.names.user(name));
                fields.name = self.named.clone();
            }
            (Some(Verb::Auth), Some(name)) => fields.name = Some(name.to_ascii_uppercase()),
            (Some(Verb::Quit), _) => {
                self.quit = super::Quit::Said;
                fields.messages = self.all_marked();
            }
            _ => {}
        }
        self.infer_phase(verb);
        let repeats = number.is_some() || matches!(verb, Some(Verb::Noop | Verb::Stat));
        let topic = verb.map(|verb| Topic { command: self.summary.commands, verb, number, repeats });
        let explanation = verb.map(|verb| verb.explanation(argument.is_some()));
        let extension = label.split(' ').next().and_then(remarks::extension);
        let remark = explanation.map_or_else(
            || extension.unwrap_or_else(|| remarks::unknown_command(None)),
            |of| remarks::command(of, &fields),
        );
        let shown = match (verb, &self.named) {
            (Some(Verb::User), Some(name)) if self.names.hidden() && word.is_some() => format!("USER {name}"),
            _ => label.clone(),
        };
        let mut draft = Draft::new(RowKind::Command, Some(Side::Client), shown).remark(remark);
        draft.topic = topic;
        let mechanism = fields.name.clone().filter(|_| verb == Some(Verb::Auth));
        let shows = label.contains(words::SECRET);
        let clear = match verb {
            Some(Verb::Pass) => true,
            Some(Verb::Auth) => {
                shows && mechanism.as_deref().is_some_and(|name| CLEAR_MECHANISMS.contains(&name))
            }
            _ => false,
        };
        if clear {
            self.shown_in_clear(&mut draft, verb == Some(Verb::Pass));
        }
        if self.stls != Stls::Off {
            let text = "The client said this behind STLS, before TLS began: a server that keeps it takes it for a command inside TLS.";
            draft.find(Anomaly::StlsInjection, text);
        }
        if verb == Some(Verb::Stls) {
            self.stls = Stls::Asked;
        }
        if self.exchanges.len() < EXCHANGES_MAX {
            self.exchanges.push_back(Exchange { verb, explanation, topic, fields, said: None, mechanism });
        }
        draft
    }

    /// What a command tells of the state of a session whose beginning was not heard.
    fn infer_phase(&mut self, verb: Option<Verb>) {
        if self.phase.is_some() || !self.summary.opening.joined {
            return;
        }
        let Some(verb) = verb else { return };
        let mut from = TRANSITIONS.iter().filter(|row| row.verb == verb).map(|row| row.from);
        let first = from.next();
        self.phase = match first {
            Some(Phase::Transaction) => first,
            // CAPA and QUIT may stand anywhere.
            _ if from.any(|phase| phase == Phase::Transaction) => None,
            _ => first.map(|_| Phase::Authorization),
        };
    }

    fn response(&mut self, label: String) -> Draft {
        let mechanism = self.mechanism.clone();
        let text = match &mechanism {
            Some(name) => format!("The client's part of {name}, in base64. What it says is secret."),
            None => "The client's part of the exchange, in base64. What it says is secret.".to_owned(),
        };
        let mut draft = Draft::new(RowKind::Response, Some(Side::Client), label)
            .remark(remarks::remark(text, Some("RFC 5034 §4")));
        if mechanism.is_some_and(|name| CLEAR_MECHANISMS.contains(&&*name)) {
            self.shown_in_clear(&mut draft, false);
        }
        draft
    }

    /// The line shows a password to everybody on the way, unless there is TLS.
    fn shown_in_clear(&mut self, draft: &mut Draft, as_it_is: bool) {
        if self.tls || self.summary.opening.inside_tls {
            return;
        }
        let text = match as_it_is {
            true => "The password is sent in the clear!",
            false => {
                "The password, or a token that is as good as one, is sent in the clear: base64 hides nothing."
            }
        };
        draft.find(Anomaly::PasswordInClear, text);
        if self.stls_refused && !self.clear_told {
            self.clear_told = true;
            draft.find(Anomaly::StlsStripped, "STLS was refused, and the client logs in all the same.");
        }
    }

    /// A line that the session's state does not explain.
    pub(super) fn unknown(&mut self, from: Side, label: String) -> Draft {
        let kind = match from {
            Side::Client => RowKind::Command,
            Side::Server => RowKind::Reply,
        };
        self.unsure = true;
        let draft = Draft::new(kind, Some(from), label);
        if std::mem::replace(&mut self.unknown_told, true) {
            return draft;
        }
        draft.remark(remarks::remark(
            "From here on the session cannot be followed: nobody can tell which answer belongs to which command, and hardly anything is shown.",
            None,
        ))
    }
}

/// Whether a line ends in LF without CR.
pub(super) fn ends_in_bare_lf<M: Mark>(line: &Line<M>) -> bool {
    let mut octets = line.pieces().iter().rev().filter_map(|piece| match piece {
        Piece::Octets(octets) => Some(octets.as_slice()),
        _ => None,
    });
    let last = octets.next().unwrap_or_default();
    last.ends_with(b"\n")
        && !last.ends_with(b"\r\n")
        && !(last == b"\n" && octets.next().is_some_and(|before| before.ends_with(b"\r")))
}
