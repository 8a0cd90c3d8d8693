//! What `cargo xtask instructions` is asked for.

use crate::run::Failure;

pub(super) const HELP: &str = "\
Usage: cargo xtask instructions [--only LOOP …] [--save] [--check PERCENT]

Counts what the hot loops cost in instructions, and compares with bench/instructions.json. Needs valgrind,
which is installed from Debian's packages where it is missing. Takes about a minute beside the build.

  --only LOOP       this loop alone; may be given several times
  --save            keep these counts, for later runs to be compared with
  --check PERCENT   fail where a loop takes so many per cent more than what is kept

See docs/benchmarks.md.

Example: cargo xtask instructions --only list --only uidl --check 2
";

#[derive(Debug, Default, PartialEq)]
pub(super) struct Options {
    /// All, if there is none.
    pub(super) only: Vec<String>,
    pub(super) save: bool,
    /// In per cent.
    pub(super) check: Option<f64>,
}

impl Options {
    /// `None` where help is asked for.
    pub(super) fn parse(arguments: &[String]) -> Result<Option<Self>, Failure> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "-h" | "--help" => return Ok(None),
                "--save" => options.save = true,
                "--only" => {
                    let name = rest.next().ok_or_else(|| usage("--only takes the name of a loop"))?;
                    options.only.push(name.clone());
                }
                "--check" => {
                    let value = rest.next().and_then(|value| value.parse::<f64>().ok());
                    let value = value.filter(|per_cent| per_cent.is_finite() && *per_cent >= 0.0);
                    options.check =
                        Some(value.ok_or_else(|| usage("--check takes a number of per cent, such as 2"))?);
                }
                other => return Err(usage(&format!("there is no argument «{other}»\n\n{HELP}"))),
            }
        }
        if options.save && options.check.is_some() {
            return Err(usage("--save and --check do not go together: check first, then save"));
        }
        Ok(Some(options))
    }
}

fn usage(text: &str) -> Failure {
    Failure::Usage(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, Failure> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read() {
        assert_eq!(parse(""), Ok(Some(Options::default())));
        assert_eq!(parse("--save --help"), Ok(None));
        let only = vec!["list".to_owned(), "uidl".to_owned()];
        let expected = Options { only, check: Some(2.5), save: false };
        assert_eq!(parse("--only list --check 2.5 --only uidl"), Ok(Some(expected)));
        for wrong in
            ["list", "--only", "--check", "--check x", "--check -1", "--check NaN", "--save --check 1"]
        {
            assert!(matches!(parse(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
