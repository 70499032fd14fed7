//! `pinion check`: says what a configuration would run, or everything that is wrong with it.

use std::fmt::Write;

use config_core::ProxyConfig;

/// What would run, for people; with `dump`, every setting in TOML spelling with its origin as a comment.
pub fn report(config: &ProxyConfig, warnings: &[String], dump: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for warning in warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    if dump {
        dump_into(&mut text, config);
    } else {
        summary_into(&mut text, config);
    }
    text
}

fn summary_into(text: &mut String, config: &ProxyConfig) {
    let model = config.model();
    let _ = writeln!(text, "configuration is valid");
    for listener in &model.server.listen {
        let _ = writeln!(text, "  listen   {listener}");
    }
    for backend in model.routes.iter().flat_map(|route| &route.upstream.backends) {
        let _ = writeln!(text, "  target   {}", backend.url);
    }
    let _ = writeln!(text, "  cores    {}, runtime {}", model.server.cores, model.server.runtime.as_str());
}

fn dump_into(text: &mut String, config: &ProxyConfig) {
    let effective = config.effective();
    let width = |value: &config_core::EffectiveValue| value.key.len() + value.value.len() + 3;
    let widest = effective.iter().map(width).filter(|width| *width <= COMMENT_COLUMN_MAX).max().unwrap_or(0);
    for value in &effective {
        // TOML has no word for a setting that is off: as a comment the line stays valid.
        let mark = if value.value == "none" { "# " } else { "" };
        let setting = format!("{mark}{} = {}", value.key, value.value);
        let _ = writeln!(text, "{setting:<widest$}  # {}", value.origin);
    }
}

/// Comments are aligned up to this column; longer settings push theirs out.
const COMMENT_COLUMN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_shows_every_setting_with_its_origin() {
        let mut draft = config_core::Draft::new();
        let file = "[server]\nmax_connections = 3\n[[route]]\nvhost = \"*\"\nbackends = [{ url = \"http://a:1\" }]\n";
        draft.add_toml("p.toml", file, &|_| None);
        let config = draft.validate().expect("valid");
        let text = report(&config, &[], true);
        let line = |key: &str| text.lines().find(|line| line.starts_with(key)).expect(key);
        assert!(line("server.max_connections").contains("= 3 "), "{text}");
        assert!(line("server.max_connections").ends_with("# p.toml:2:19"), "{text}");
        assert!(line("pool.max_size").ends_with("# default"), "{text}");
        assert!(line("route[0].backends[0].url").ends_with("# p.toml:5:21"), "{text}");
        assert!(line("# limits.body_bytes_max = none").ends_with("# default"), "{text}");
        assert_eq!(text.lines().count(), config.effective().len());
        assert!(report(&config, &["w".to_owned()], false).contains("warning: w"));
    }
}
