//! `--plan`: what would be fetched and deleted, message by message, and why.

use restante_fetch::{
    Account, Stop,
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
    accounts: &[(Configured, Account)],
    show: &Show,
    stop: &Stop,
) -> Result<(), Failure> {
    let mut failed = false;
    for (_, account) in accounts {
        let report = show.account(&account.name);
        let planned = restante_fetch::plan(account, report, stop).await;
        match planned {
            Ok(plan) if show.is_json() => {
                plan.steps.iter().for_each(|step| show.print_json(&as_json(&account.name, step)));
            }
            Ok(plan) => show.print(&as_text(&account.name, &plan)),
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

fn as_json(account: &str, step: &Step) -> Value {
    json!({
        "account": account,
        "number": step.number.get(),
        "id": step.key.as_ref().and_then(|key| key.id()),
        "octets": step.octets,
        "action": verb(&step.action),
        "why": step.action.to_string(),
    })
}

fn as_text(account: &str, plan: &Plan) -> String {
    let mut text = String::new();
    let number = |step: &Step| step.number.to_string();
    let size = |step: &Step| step.octets.map_or_else(|| "?".to_owned(), octets::shown);
    let width = |column: &dyn Fn(&Step) -> String| {
        plan.steps.iter().map(|step| column(step).len()).max().unwrap_or(0)
    };
    let widths = (width(&number), width(&size));
    let mut counts = [0; 3];
    for step in &plan.steps {
        counts[match &step.action {
            Action::Fetch(_) => 0,
            Action::Delete(_) => 1,
            Action::Leave(_) => 2,
        }] += 1;
        let (number, size) = (number(step), size(step));
        let id = step.key.as_ref().map_or("(no unique-id of its own)", |key| key.shown());
        let (id, why) = (harmless_line(id), harmless_line(&step.action.to_string()));
        let verb = verb(&step.action);
        text.push_str(&format!(
            "{number:>w$}  {size:>s$}  {verb:<6}  {id}  {why}\n",
            w = widths.0,
            s = widths.1
        ));
    }
    let [fetch, delete, leave] = counts;
    text + &format!("{account}: {fetch} to fetch, {delete} to delete, {leave} to leave\n")
}
