//! `--plan`: what would be fetched and deleted, message by message, and why.

use restante_fetch::{
    Account, Keep, Stop,
    plan::{Action, Plan, Step},
};
use serde_json::{Value, json};

use super::{show::Show, told};
use crate::{
    accounts::{Configured, octets},
    failure::{Failure, Kind},
    terminal::harmless_line,
};

/// Plans for each account, one after the other.
pub(super) async fn show(
    accounts: &[(Configured, Result<Account, Failure>)],
    show: &Show,
    stop: &Stop,
) -> Result<(), Failure> {
    let mut failed = false;
    // Those that could not be opened were told.
    for account in accounts.iter().filter_map(|(_, account)| account.as_ref().ok()) {
        let report = show.account(&account.name);
        let planned = restante_fetch::plan(account, report, stop).await;
        match planned {
            Ok(plan) if show.is_json() => {
                plan.steps.iter().for_each(|step| show.print_json(&as_json(account, &plan, step)));
            }
            Ok(plan) => show.print(&as_text(account, &plan)),
            Err(error) => {
                failed = true;
                show.eprint(&told(&account.name, &error).render_now());
            }
        }
    }
    show.close()?;
    if failed { Err(Failure::silent(Kind::Failed)) } else { Ok(()) }
}

const fn verb(action: &Action) -> &'static str {
    match action {
        Action::Fetch(_) => "fetch",
        Action::Delete(_) => "delete",
        Action::Leave(_) => "leave",
    }
}

/// Why, and what follows from it.
fn why(step: &Step, plan: &Plan, keep: Keep) -> String {
    let mut text = step.action.to_string();
    if matches!(step.action, Action::Fetch(_)) {
        if plan.suspects.contains(&step.number) {
            text.push_str("; left out if it is one that was delivered under another unique-id");
        }
        if keep == Keep::No {
            text.push_str("; deleted on the server once it is delivered");
        }
    }
    text
}

fn as_json(account: &Account, plan: &Plan, step: &Step) -> Value {
    let keep = account.policy.keep;
    json!({
        "account": account.name,
        "number": step.number.get(),
        "id": step.key.as_ref().and_then(|key| key.id()),
        "octets": step.octets,
        "action": verb(&step.action),
        "then_delete": matches!(step.action, Action::Fetch(_)) && keep == Keep::No,
        "why": why(step, plan, keep),
    })
}

fn as_text(account: &Account, plan: &Plan) -> String {
    let (name, keep) = (&account.name, account.policy.keep);
    let mut text = String::new();
    let number = |step: &Step| step.number.to_string();
    let size = |step: &Step| step.octets.map_or_else(|| "?".to_owned(), octets::shown);
    let id = |step: &Step| {
        step.key
            .as_ref()
            .map_or_else(|| "(no unique-id of its own)".to_owned(), |key| harmless_line(key.shown()))
    };
    let width = |column: &dyn Fn(&Step) -> String| {
        plan.steps.iter().map(|step| column(step).chars().count()).max().unwrap_or(0)
    };
    let (w, s, i) = (width(&number), width(&size), width(&id));
    let mut counts = [0; 3];
    for step in &plan.steps {
        counts[match &step.action {
            Action::Fetch(_) => 0,
            Action::Delete(_) => 1,
            Action::Leave(_) => 2,
        }] += 1;
        let (number, size, id) = (number(step), size(step), id(step));
        let (verb, why) = (verb(&step.action), harmless_line(&why(step, plan, keep)));
        text.push_str(&format!("{number:>w$}  {size:>s$}  {verb:<6}  {id:<i$}  {why}\n"));
    }
    text + &format!("{name}: {}\n", counted(counts, keep))
}

/// How many messages are to be fetched, deleted and left.
pub(crate) fn counted([fetch, delete, leave]: [usize; 3], keep: Keep) -> String {
    let then = if fetch > 0 && keep == Keep::No { " and then to delete" } else { "" };
    format!("{fetch} to fetch{then}, {delete} to delete, {leave} to leave")
}
