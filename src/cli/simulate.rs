//! `jobtrackd simulate`: the remote API, simulated, until a signal stops it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::screen::print;
use crate::simulator::{Dialect, Simulator, SimulatorSettings};
use tokio::signal::unix::{SignalKind, signal};

/// Serve a simulated job API, for development and tests without credentials.
#[derive(Debug, Clone, Args)]
pub(super) struct SimulateArgs {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,

    /// The API to speak
    #[arg(long, value_name = "NAME", default_value = "basiq",
        value_parser = PossibleValuesParser::new(Dialect::names()).try_map(|name| name.parse::<Dialect>()))]
    dialect: Dialect,

    /// The same seed and the same calls give the same jobs
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// How many times faster than in reality jobs run
    #[arg(long, value_name = "X", default_value = "1", value_parser = parse_speed)]
    speed: f64,

    /// The only API key that is accepted; any is when there is none
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,

    /// How long a token lives, such as 90s or 1h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_life)]
    token_life: Duration,
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "not a number; try 10")?;
    match speed.is_finite() && speed > 0.0 {
        true => Ok(speed),
        false => {
            Err("must be above 0 and finite; 10 is ten times faster than in reality".to_owned())
        }
    }
}

fn parse_life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if life < Duration::from_secs(1) {
        return Err("must be at least 1s: the API counts in seconds".to_owned());
    }
    Ok(life)
}

/// Serves until a signal stops it.
///
/// # Errors
/// When the address cannot be bound, or standard output is gone.
pub(super) async fn run(args: SimulateArgs) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for ctrl-c")?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    let settings = SimulatorSettings {
        listen: args.listen,
        dialect: args.dialect,
        seed: args.seed,
        speed: args.speed,
        api_key: args.api_key.clone(),
        token_life: args.token_life,
        ..SimulatorSettings::default()
    };
    let simulator = Simulator::start(settings)
        .await
        .with_context(|| format!("failed to listen on {}", args.listen))?;
    print(&first_screen(simulator.base_url(), &args))?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    simulator.shutdown().await;
    Ok(())
}

fn first_screen(base: &str, args: &SimulateArgs) -> String {
    let (key, taken) = match args.api_key {
        Some(_) => ("$API_KEY", "only the given API key is accepted"),
        None => ("any-key", "any API key is accepted"),
    };
    let example = args.dialect.example();
    let filled = |text: &str| text.replace("{base}", base).replace("{key}", key);
    format!(
        include_str!("simulate.txt"),
        base = base,
        taken = taken,
        dialect = args.dialect.name(),
        seed = args.seed,
        speed = args.speed,
        create = filled(example.create),
        poll = filled(example.poll),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parse(args: &[&str]) -> Result<SimulateArgs, clap::Error> {
        Command::try_parse_from([&["simulate"], args].concat()).map(|command| command.args)
    }

    #[test]
    fn without_arguments_it_listens_on_the_documented_address_at_real_speed() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.listen, SocketAddr::from(([127, 0, 0, 1], 9090)));
        assert_eq!((args.seed, args.api_key), (1, None));
        assert!((args.speed - 1.0).abs() < f64::EPSILON);
        assert_eq!(args.token_life, Duration::from_secs(3600));
    }

    #[test]
    fn every_dialect_has_a_first_screen_and_other_names_are_refused_with_those_there_are() {
        for dialect in Dialect::names() {
            let args = parse(&["--dialect", dialect]).unwrap();
            let screen = first_screen("http://127.0.0.1:9090", &args);
            assert!(screen.contains(&format!("dialect {dialect},")), "{screen}");
            assert!(!screen.contains("{base}") && !screen.contains("{key}"));
        }
        let error = parse(&["--dialect=soap"]).unwrap_err().to_string();
        assert!(error.contains("openai-batch"), "{error}");
    }

    #[test]
    fn speeds_and_lives_that_cannot_be_are_refused_with_what_to_type() {
        for speed in ["0", "-1", "inf", "NaN"] {
            let error = parse(&[&format!("--speed={speed}")])
                .unwrap_err()
                .to_string();
            assert!(error.contains("above 0 and finite"), "{error}");
        }
        let error = parse(&["--speed=fast"]).unwrap_err().to_string();
        assert!(error.contains("not a number; try 10"), "{error}");
        let error = parse(&["--token-life=10ms"]).unwrap_err().to_string();
        assert!(error.contains("at least 1s"), "{error}");
    }

    #[test]
    fn the_first_screen_never_shows_the_api_key() {
        let args = parse(&["--api-key=c2VjcmV0"]).unwrap();
        let screen = first_screen("http://127.0.0.1:9090", &args);
        assert!(!screen.contains("c2VjcmV0"));
        assert!(screen.contains("curl -s http://127.0.0.1:9090/token"));
    }
}
