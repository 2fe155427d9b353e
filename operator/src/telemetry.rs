//! Logs: one line for each thing that happened, as text or JSON, on stderr. Never a secret: nothing that
//! holds one can be formatted.

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// How logs that are not ours are cut: what libraries say below warnings helps nobody who operates.
const OTHERS: &str = "warn";

/// Sends the logs of the process to stderr from now on. A second call changes nothing.
///
/// # Errors
///
/// If `level` is neither a level nor a list of `module=level`.
pub fn start(format: LogFormat, level: &str) -> Result<(), String> {
    let filter = filter(level)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Whoever was first has the say, as in tests.
    drop(match format {
        LogFormat::Json => logs.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => logs.try_init(),
    });
    Ok(())
}

/// `level` for our own modules and warnings of all others, or the list of directives that `level` is.
fn filter(level: &str) -> Result<EnvFilter, String> {
    let text = match level {
        "off" => "off".to_owned(),
        "error" | "warn" | "info" | "debug" | "trace" => format!("{OTHERS},leafseal_operator={level},leafseal={level}"),
        directives if directives.contains(['=', ',']) => directives.to_owned(),
        other => return Err(format!("{other:?} is no log level: use error, warn, info, debug or trace")),
    };
    EnvFilter::try_new(&text).map_err(|error| format!("{level:?} is no log filter: {error}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn levels_are_for_our_own_modules() {
        assert!(super::filter("debug").expect("it is a level").to_string().contains("leafseal_operator=debug"));
        assert_eq!(super::filter("kube=debug,warn").expect("it is a filter").to_string(), "kube=debug,warn");
        assert!(super::filter("loud").is_err());
    }
}
