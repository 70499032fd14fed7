//! The rules of a route: `paths`.

use std::collections::HashMap;
use std::sync::Arc;

use super::fields::Direction;
use super::limits::narrow;
use super::section::{Findings, Section};
use super::tls::Ways;
use super::{bounds, fields, pattern, shadow, target};
use crate::defaults;
use crate::ids::UpstreamId;
use crate::model::{
    Action, Backend, BackendTls, Forward, HashKey, Pattern, Redirect, Respond, Rule, Strategy, Upstream,
};

/// Most rules of a route: whoever needs more has hosts to tell them apart.
const RULES_MAX: usize = 10_000;
/// Most methods of a rule: there are some forty that are registered.
const METHODS_MAX: usize = 64;
/// Longest fixed body: it is kept in memory and sent in one piece.
const RESPOND_BODY_BYTES_MAX: usize = 64 * 1024;

const REDIRECTS: [u64; 5] = [301, 302, 303, 307, 308];
/// Methods whose names people write in lower case, and which no client sends so (RFC 9110 9.1).
const USUAL_METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
/// Keys of rules that forward.
const FORWARD_KEYS: [&str; 5] = ["target", "rewrite", "change_origin", "headers", "secure"];

/// Targets that a rule of this route has already, by their URL and whether they are verified: rules with the same target
/// share it, its pools and its health.
struct Targets<'a> {
    /// Of the route.
    id: &'a str,
    /// The route's own backends.
    usual: &'a Upstream,
    ways: Ways<'a>,
    known: HashMap<(String, bool), Arc<Upstream>>,
}

impl Targets<'_> {
    /// The backends of a rule, unless they are the route's as they are.
    fn upstream(&mut self, target: Option<Backend>, secure: Option<bool>) -> Option<Arc<Upstream>> {
        let usual_tls = self.ways.tls;
        let verify = secure.unwrap_or(usual_tls.verify);
        if target.is_none() && verify == usual_tls.verify {
            return None;
        }
        // No route's id has this letter, so that this is no route's upstream.
        let mark = if verify == usual_tls.verify { ">" } else { ">>" };
        let name = target.as_ref().map_or("", |backend| backend.id.as_str());
        let id = UpstreamId::new(&format!("{}{mark}{name}", self.id));
        let key = target.as_ref().map_or_else(String::new, |backend| backend.url.clone());
        let (usual, own) = (self.usual, Arc::new(BackendTls { verify, ..(**usual_tls).clone() }));
        let send_proxy = self.ways.send_proxy;
        let upstream = || {
            let mut upstream = match target {
                None => Upstream { id, ..usual.clone() },
                Some(backend) => Upstream {
                    id,
                    strategy: Strategy::RoundRobin,
                    hash_key: HashKey::ClientIp,
                    panic_threshold_percent: 0,
                    backends: vec![backend],
                },
            };
            Ways { tls: &own, send_proxy }.lay(&mut upstream);
            Arc::new(upstream)
        };
        Some(Arc::clone(self.known.entry((key, verify)).or_insert_with(upstream)))
    }
}

/// The rules of the route `id`. Mistakes are reported.
pub(crate) fn rules(
    section: &mut Section<'_>,
    id: &str,
    usual: &Upstream,
    ways: Ways<'_>,
    findings: &mut Findings,
) -> Vec<Rule> {
    let path = section.path_of("paths");
    let sections = section.sections("paths", findings).unwrap_or_default();
    if let Some(extra) = sections.get(RULES_MAX) {
        let problem = format!("{} rules", sections.len());
        let allowed =
            format!("allowed: up to {RULES_MAX}, because they are tried for every request of the host");
        findings.refuse(&extra.place().clone(), &path, problem, allowed);
        return Vec::new();
    }
    let mut targets = Targets { id, usual, ways, known: HashMap::new() };
    let (mut rules, mut places) = (Vec::with_capacity(sections.len()), Vec::new());
    for section in sections {
        let place = (section.place().clone(), section.path.clone());
        if let Some(rule) = rule(section, &mut targets, findings) {
            rules.push(rule);
            places.push(place);
        }
    }
    if findings.is_thorough() {
        shadow::warn(&rules, &places, findings);
    }
    rules
}

fn rule(mut section: Section<'_>, targets: &mut Targets<'_>, findings: &mut Findings) -> Option<Rule> {
    let pattern = pattern::pattern(&mut section, findings);
    let methods = methods(&mut section, findings);
    let action = action(&mut section, pattern.as_ref(), targets, findings);
    section.finish(findings);
    Some(Rule { pattern: pattern?, methods, action: action? })
}

fn methods(section: &mut Section<'_>, findings: &mut Findings) -> Vec<String> {
    let mut methods: Vec<String> = Vec::new();
    for written in section.texts("methods", findings).unwrap_or_default() {
        let name = written.text.trim();
        let upper = name.to_ascii_uppercase();
        let (problem, allowed) = match () {
            () if !fields::is_token(name) => {
                (format!("found {:?}", written.text), "a method such as \"GET\"".to_owned())
            }
            () if upper != name && USUAL_METHODS.contains(&upper.as_str()) => {
                (format!("found {name:?}, which no client sends"), format!("write {upper:?}"))
            }
            () if methods.iter().any(|method| method == name) => {
                (format!("{name:?} is listed twice"), "each method once".to_owned())
            }
            () if methods.len() == METHODS_MAX => {
                (format!("more than {METHODS_MAX} methods"), "leave the key out for every method".to_owned())
            }
            () => {
                methods.push(name.to_owned());
                continue;
            }
        };
        findings.refuse(&written.origin, &written.path, problem, allowed);
    }
    methods
}

/// Exactly one of forwarding, redirecting and answering; forwarding where nothing is written.
fn action(
    section: &mut Section<'_>,
    pattern: Option<&Pattern>,
    targets: &mut Targets<'_>,
    findings: &mut Findings,
) -> Option<Action> {
    let other = ["redirect", "respond"].into_iter().find(|key| section.has(key));
    let forward = forward(section, pattern, targets, findings);
    let redirect = section.section_or_none("redirect", findings);
    let redirect = redirect.map(|section| redirect_of(section, pattern, findings));
    let respond = section.section_or_none("respond", findings).map(|section| respond_of(section, findings));
    let Some(other) = other else { return Some(Action::Forward(forward)) };
    let beside = FORWARD_KEYS.into_iter().find(|key| section.has(key));
    let beside = beside.or_else(|| (other == "redirect" && section.has("respond")).then_some("respond"));
    if let Some(key) = beside {
        let place = section.origin(key).unwrap_or_else(|| section.place().clone());
        let allowed = "a rule forwards, redirects or responds, and does one of them";
        findings.refuse(&place, &section.path_of(key), format!("beside {other}"), allowed);
        return None;
    }
    match (redirect, respond) {
        (Some(redirect), _) => redirect.map(Action::Redirect),
        (None, Some(respond)) => respond.map(Action::Respond),
        // Written as something else than a table, and reported.
        (None, None) => None,
    }
}

fn forward(
    section: &mut Section<'_>,
    pattern: Option<&Pattern>,
    targets: &mut Targets<'_>,
    findings: &mut Findings,
) -> Forward {
    let target = section.text("target", findings).and_then(|written| target::backend(&written, findings));
    let rewrite = section.text("rewrite", findings);
    let rewrite = rewrite.and_then(|written| pattern::template(&written, pattern, check_rewrite, findings));
    let secure = section.has("secure").then(|| section.boolean("secure", true, findings));
    if !section.has("secure") {
        section.expect("secure");
    }
    Forward {
        has_target: target.is_some(),
        target: targets.upstream(target, secure),
        secure,
        rewrite,
        change_origin: section.boolean("change_origin", false, findings),
        headers: fields::fields(section, "headers", Direction::Request, findings),
    }
}

fn check_rewrite(text: &str, pattern: Option<&Pattern>) -> Result<(), String> {
    if !text.starts_with(['/', '$']) || text.starts_with("$$") {
        return Err("a path begins with \"/\"".to_owned());
    }
    if text.contains('#') {
        return Err("a fragment is never sent".to_owned());
    }
    if text.contains('?') && matches!(pattern, Some(Pattern::Prefix(_))) {
        return Err(
            "what a prefix becomes stands before the rest of the path, and cannot have a query".to_owned()
        );
    }
    let is_dots =
        |segment: &str| matches!(segment.replace("%2e", ".").replace("%2E", ".").as_str(), "." | "..");
    if text.split('?').next().is_some_and(|path| path.split('/').any(is_dots)) {
        return Err("a backend would take dot segments for another path".to_owned());
    }
    check_controls(text)
}

fn check_location(text: &str, _: Option<&Pattern>) -> Result<(), String> {
    let is_url = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    if !is_url && !text.starts_with(['/', '$']) || text.starts_with("$$") {
        return Err("a path, or a URL with http or https, is expected".to_owned());
    }
    check_controls(text)
}

fn check_controls(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) { Err("a control character".to_owned()) } else { Ok(()) }
}

fn redirect_of(
    mut section: Section<'_>,
    pattern: Option<&Pattern>,
    findings: &mut Findings,
) -> Option<Redirect> {
    let place = section.place().clone();
    for (key, example) in [("status", "status = 308"), ("location", "location = \"/new/$1\"")] {
        if !section.has(key) {
            findings.refuse(&place, &section.path_of(key), "missing".to_owned(), format!("write {example}"));
        }
    }
    let status = section.number_or_none("status", bounds::RESPOND_STATUS, findings);
    let location = section.text("location", findings);
    let location =
        location.and_then(|written| pattern::template(&written, pattern, check_location, findings));
    if let Some(status) = status.filter(|status| !REDIRECTS.contains(status)) {
        let place = section.origin("status").unwrap_or(place);
        let allowed =
            "allowed: 301, 302, 303, 307, 308; 307 and 308 keep the method, 301 and 308 are for ever";
        findings.refuse(&place, &section.path_of("status"), format!("found {status}"), allowed);
    }
    section.finish(findings);
    let status = u16::try_from(status?).expect("the bounds of the key fit 16 bits");
    Some(Redirect { status, location: location? })
}

fn respond_of(mut section: Section<'_>, findings: &mut Findings) -> Option<Respond> {
    let status = narrow(section.number("status", bounds::RESPOND_STATUS, 200, findings));
    let body = section.text("body", findings);
    let content_type = section.text("content_type", findings);
    if let Some(body) = &body {
        // RFC 9110 6.4.1: these answers have no content.
        let problem = match body.text.len() {
            1.. if matches!(status, 204 | 205 | 304) => Some(format!("an answer {status} has no body")),
            len if len > RESPOND_BODY_BYTES_MAX => Some(format!("found {len} bytes")),
            _ => None,
        };
        if let Some(problem) = problem {
            let allowed =
                format!("allowed: up to {RESPOND_BODY_BYTES_MAX} bytes, because it is kept in memory");
            findings.refuse(&body.origin, &body.path, problem, allowed);
        }
    }
    if let Some(written) = &content_type {
        let text = written.text.as_str();
        let checked = if text.trim() != text || text.is_empty() {
            Err("no media type".to_owned())
        } else {
            fields::check_value(text)
        };
        if let Err(problem) = checked {
            let allowed = format!("a media type such as {:?}", defaults::RESPOND_CONTENT_TYPE);
            findings.refuse(&written.origin, &written.path, format!("found {text:?}: {problem}"), allowed);
        }
    }
    section.finish(findings);
    Some(Respond {
        status: u16::try_from(status).expect("the bounds of the key fit 16 bits"),
        body: body.map(|written| written.text).unwrap_or_default(),
        content_type: content_type
            .map_or_else(|| defaults::RESPOND_CONTENT_TYPE.to_owned(), |written| written.text),
    })
}
