//! `pinion check`: says what a configuration would run, or everything that is wrong with it.

use std::fmt::Write;

use config_core::ProxyConfig;
use config_core::model::{Action, Route, Rule, Upstream};

/// What would run, for people; with `dump`, every setting in TOML spelling with its origin as a comment.
pub fn report(config: &ProxyConfig, warnings: &[String], dump: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let of_configuration = config.warnings();
    let of_configuration = of_configuration.iter().map(ToString::to_string);
    for warning in warnings.iter().cloned().chain(of_configuration) {
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
    // In the order of the look-up: exact hosts, wildcards, every host.
    let mut routes: Vec<&Route> = model.routes.iter().map(|route| &**route).collect();
    routes.sort_by(|left, right| left.vhost.cmp(&right.vhost));
    for route in routes.iter().take(ROUTES_SHOWN_MAX) {
        route_into(text, route);
    }
    if routes.len() > ROUTES_SHOWN_MAX {
        let _ = writeln!(text, "  route    … and {} more; --dump has all", routes.len() - ROUTES_SHOWN_MAX);
    }
    let _ = writeln!(text, "  cores    {}, runtime {}", model.server.cores, model.server.runtime.as_str());
}

fn route_into(text: &mut String, route: &Route) {
    let _ =
        write!(text, "  route    {} (id {}), {}", route.vhost, route.id, route.upstream.strategy.as_str());
    if let Some(active) = route.req_active_length {
        let _ = write!(text, ", {active} at once and {} waiting", route.req_queue_length);
    }
    text.push('\n');
    for rule in route.rules.iter().take(RULES_SHOWN_MAX) {
        let _ = writeln!(text, "    {}", rule_line(rule, route));
    }
    if route.rules.len() > RULES_SHOWN_MAX {
        let _ = writeln!(text, "    … and {} rules more", route.rules.len() - RULES_SHOWN_MAX);
    }
    let otherwise = if route.rules.is_empty() { "every path" } else { "other paths" };
    let _ = writeln!(text, "    {otherwise} to {}", targets(&route.upstream));
}

fn rule_line(rule: &Rule, route: &Route) -> String {
    let methods =
        if rule.methods.is_empty() { String::new() } else { format!(" ({})", rule.methods.join(", ")) };
    let action = match &rule.action {
        Action::Forward(forward) => {
            let to = targets(forward.target.as_ref().unwrap_or(&route.upstream));
            let rewrite = forward.rewrite.as_ref().map(|path| format!(" as {path}")).unwrap_or_default();
            format!("to {to}{rewrite}")
        }
        Action::Redirect(redirect) => format!("redirected with {} to {}", redirect.status, redirect.location),
        Action::Respond(respond) => format!("answered with {}", respond.status),
    };
    format!("{} {}{methods} {action}", rule.pattern.kind(), rule.pattern.text())
}

fn targets(upstream: &Upstream) -> String {
    let shown = upstream.backends.iter().take(BACKENDS_SHOWN_MAX).map(|backend| backend.url.as_str());
    let shown = shown.collect::<Vec<_>>().join(", ");
    match upstream.backends.len().saturating_sub(BACKENDS_SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
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

/// What a person still reads.
const ROUTES_SHOWN_MAX: usize = 100;
const RULES_SHOWN_MAX: usize = 50;
const BACKENDS_SHOWN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> ProxyConfig {
        let mut draft = config_core::Draft::new();
        draft.add_toml("p.toml", file, &|_| None);
        draft.validate().expect("valid")
    }

    #[test]
    fn a_dump_shows_every_setting_with_its_origin() {
        let config = read(
            "[server]\nmax_connections = 3\n[[route]]\nvhost = \"*\"\nbackends = [{ url = \"http://a:1\" }]\n",
        );
        let text = report(&config, &[], true);
        let line = |key: &str| text.lines().find(|line| line.starts_with(key)).expect(key);
        assert!(line("server.max_connections").contains("= 3 "), "{text}");
        assert!(line("server.max_connections").ends_with("# p.toml:2:19"), "{text}");
        assert!(line("pool.max_size").ends_with("# default"), "{text}");
        assert!(line("route[default].backends[0].url").ends_with("# p.toml:5:21"), "{text}");
        assert!(line("# limits.body_bytes_max = none").ends_with("# default"), "{text}");
        assert_eq!(text.lines().count(), config.effective().len());
        assert!(report(&config, &["w".to_owned()], false).contains("warning: w"));
    }

    #[test]
    fn routes_are_listed_with_their_rules_in_the_order_of_the_look_up() {
        let mut file = String::from(
            "[[route]]\nvhost = \"*\"\nstrategy = \"random\"\nreq_active_length = 5\n\
             backends = [{ url = \"http://a:1\" }, { url = \"http://b:1\" }]\n\
             [[route]]\nvhost = \"a.example\"\nbackends = [{ url = \"http://c:1\" }]\npaths = [\n\
             { match = \"exact\", pattern = \"/old\", redirect = { status = 308, location = \"/new\" } },\n\
             { match = \"prefix\", pattern = \"/x\", methods = [\"GET\", \"PUT\"], target = \"ws://d:1\", rewrite = \"/y\" },\n\
             { match = \"regex\", pattern = \"z\", respond = { status = 404 } },\n",
        );
        for number in 0..60 {
            let _ = writeln!(file, "{{ match = \"exact\", pattern = \"/{number}\" }},");
        }
        let text = report(&read(&(file + "]\n")), &[], false);
        let expected = [
            "  route    a.example (id a.example), round_robin",
            "    exact /old redirected with 308 to /new",
            "    prefix /x (GET, PUT) to ws://d:1 as /y",
            "    regex z answered with 404",
            "    exact /0 to http://c:1",
            "    … and 13 rules more",
            "    other paths to http://c:1",
            "  route    * (id default), random, 5 at once and 0 waiting",
            "    every path to http://a:1, http://b:1",
        ];
        let mut lines = text.lines();
        for line in expected {
            assert!(lines.any(|found| found == line), "{line}: {text}");
        }
    }
}
