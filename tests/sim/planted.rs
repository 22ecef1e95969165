//! Whether the simulation notices a bug that is planted.

use std::process::ExitCode;

use crate::Arguments;

/// Plants the bug of this name, or one after another with `all`; each has to be noticed within the seeds.
#[cfg(feature = "planted")]
pub(crate) fn run(name: &str, arguments: &Arguments) -> ExitCode {
    use jobtrackd_core::planted::{Bug, plant};
    use strum::IntoEnumIterator as _;

    let named: Vec<Bug> = match (name, name.parse()) {
        ("all", _) => Bug::iter().collect(),
        (_, Ok(bug)) => vec![bug],
        _ => {
            let names: Vec<&str> = Bug::iter().map(Into::into).collect();
            eprintln!("{name} is not one of the bugs: all, {}", names.join(", "));
            return ExitCode::from(2);
        }
    };
    let mut missed = 0;
    for bug in named {
        plant(Some(bug));
        let name: &str = bug.into();
        if arguments.is_printed {
            return crate::one(arguments);
        }
        match crate::first_failure(arguments) {
            Some((seed, violation)) => {
                let violation: String = violation.chars().take(160).collect();
                println!("{name}: seed {seed}, {violation}");
            }
            None => {
                println!("{name}: NOT NOTICED");
                missed += 1;
            }
        }
    }
    plant(None);
    match missed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

#[cfg(not(feature = "planted"))]
pub(crate) fn run(_: &str, _: &Arguments) -> ExitCode {
    eprintln!("no bugs can be planted: build with --features planted");
    ExitCode::from(2)
}
