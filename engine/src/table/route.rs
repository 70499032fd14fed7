//! A route as the request path uses it: its rules, where each sends a request, and what is changed on the way.

use std::sync::Arc;

use config_core::model::{self, ActiveCheck, CircuitBreaker, Model, Timeouts};
use config_core::publish::PublishError;
use protocol::{SetFields, Status};

use crate::dns::Names;
use crate::health::active::{self, Probing};
use crate::io::{Remote, process_ms};
use crate::router::{RuleError, Rules};
use crate::upstream::Upstream;
use crate::upstream::gate::{Gate, GateLimits};

/// A compiled route. Shared by every table that has it unchanged.
pub(crate) struct Route {
    pub(crate) model: Arc<model::Route>,
    /// Where requests go that no rule matches.
    pub(crate) usual: Forwarding,
    pub(crate) rules: Rules,
    /// What each rule does.
    pub(crate) actions: Vec<Action>,
    /// The engine's, with what the route has in their place.
    pub(crate) timeouts: Timeouts,
    pub(crate) body_bytes_max: Option<u64>,
    pub(crate) message_bytes_max: Option<u64>,
    pub(crate) response_set: SetFields,
    pub(crate) breaker: CircuitBreaker,
    /// How its backends are probed.
    pub(crate) check: Option<ActiveCheck>,
    /// Where the route limits its exchanges in flight.
    pub(crate) gate: Option<Arc<Gate>>,
}

/// What a rule does with a request.
pub(crate) enum Action {
    Forward(Forwarding),
    /// To the location that the rule makes of its target.
    Redirect(Status),
    Respond(Respond),
}

/// A fixed answer.
pub(crate) struct Respond {
    pub(crate) status: Status,
    pub(crate) body: Box<[u8]>,
    pub(crate) content_type: String,
}

/// To which backends, and how.
pub(crate) struct Forwarding {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) set: SetFields,
    /// `Host` as the operator sets it.
    pub(crate) host: Option<String>,
    /// `Host` and `Origin` become the backend's.
    pub(crate) change_origin: bool,
}

impl Route {
    /// Compiles a route. What `before`, the same route as it runs, has of the same backends is shared with it.
    ///
    /// # Errors
    /// With what does not compile.
    pub(crate) fn compile(
        route: &Arc<model::Route>,
        model: &Model,
        cores: usize,
        names: &Names,
        before: Option<&Route>,
    ) -> Result<Route, PublishError> {
        let upstream = |config: &Arc<model::Upstream>| {
            let known = before.map(|before| before.upstreams().collect::<Vec<_>>()).unwrap_or_default();
            Upstream::compile(config, cores, names, &known).map_err(|(key, reason)| PublishError {
                key: format!("route[{}].backend_tls.{key}", route.id),
                reason,
            })
        };
        let usual = Forwarding::new(upstream(&route.upstream)?, &route.headers, None);
        let mut actions = Vec::new();
        for rule in &route.rules {
            actions.push(match &rule.action {
                model::Action::Forward(forward) => {
                    let target = match &forward.target {
                        Some(target) => upstream(target)?,
                        None => Arc::clone(&usual.upstream),
                    };
                    Action::Forward(Forwarding::new(target, &route.headers, Some(forward)))
                }
                model::Action::Redirect(redirect) => Action::Redirect(Status(redirect.status)),
                model::Action::Respond(respond) => Action::Respond(Respond {
                    status: Status(respond.status),
                    body: respond.body.as_bytes().into(),
                    content_type: respond.content_type.clone(),
                }),
            });
        }
        let fields = route.response_headers.iter();
        let limits = route
            .req_active_length
            .map(|active_max| GateLimits { active_max, queue_max: route.req_queue_length });
        let known = before.and_then(|before| before.gate.clone());
        Ok(Route {
            breaker: model.circuit_breaker.clone(),
            check: route.health.clone().unwrap_or_else(|| model.health.clone()),
            gate: limits.map(|limits| known.unwrap_or_else(|| Gate::new(limits))),
            usual,
            rules: Rules::compile(&route.rules).map_err(|error| refused(route, &error))?,
            actions,
            timeouts: timeouts(&model.timeouts, &route.timeouts),
            body_bytes_max: route.limits.body_bytes_max.or(model.limits.body_bytes_max),
            message_bytes_max: route.limits.message_bytes_max.or(model.websocket.message_bytes_max),
            response_set: SetFields::new(fields.map(|field| (field.name.as_str(), field.value.as_str()))),
            model: Arc::clone(route),
        })
    }

    /// Tells how its backends are probed, and has it begin.
    pub(crate) fn begin_probing(&self, prober: Option<&Remote>) {
        for upstream in self.upstreams() {
            for backend in &upstream.backends {
                backend.state.probing.store(Arc::new(Probing {
                    check: self.check.clone(),
                    breaker: Some(self.breaker.clone()),
                    authority: backend.authority.clone(),
                    name: backend.id.clone(),
                }));
                if self.check.is_none() {
                    backend.state.health.forget_probes(process_ms());
                } else if let Some(prober) = prober {
                    active::watch(prober, &backend.state);
                }
            }
        }
    }

    /// The limits that the route has now, where it shares its gate with the route before.
    pub(crate) fn set_gate_limits(&self) {
        if let (Some(gate), Some(active_max)) = (&self.gate, self.model.req_active_length) {
            gate.set_limits(GateLimits { active_max, queue_max: self.model.req_queue_length });
        }
    }

    /// Every upstream that it sends requests to; one may occur more than once.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let of_rules = self.actions.iter().filter_map(|action| match action {
            Action::Forward(forwarding) => Some(&forwarding.upstream),
            Action::Redirect(_) | Action::Respond(_) => None,
        });
        std::iter::once(&self.usual.upstream).chain(of_rules)
    }
}

impl Forwarding {
    /// The route's fields, and over them those of a rule.
    fn new(upstream: Arc<Upstream>, of_route: &[model::Field], rule: Option<&model::Forward>) -> Forwarding {
        let of_rule = rule.map(|rule| rule.headers.as_slice()).unwrap_or_default();
        let is_replaced =
            |field: &&model::Field| of_rule.iter().any(|own| own.name.eq_ignore_ascii_case(&field.name));
        let all = of_route.iter().filter(|field| !is_replaced(field)).chain(of_rule);
        let (hosts, fields): (Vec<_>, Vec<_>) =
            all.partition(|field| field.name.eq_ignore_ascii_case("host"));
        Forwarding {
            upstream,
            set: SetFields::new(fields.iter().map(|field| (field.name.as_str(), field.value.as_str()))),
            host: hosts.last().map(|field| field.value.clone()),
            change_origin: rule.is_some_and(|rule| rule.change_origin),
        }
    }
}

fn timeouts(engine: &Timeouts, route: &model::TimeoutOverrides) -> Timeouts {
    Timeouts {
        connect_ms: route.connect_ms.unwrap_or(engine.connect_ms),
        first_byte_ms: route.first_byte_ms.unwrap_or(engine.first_byte_ms),
        body_progress_ms: route.body_progress_ms.unwrap_or(engine.body_progress_ms),
        write_stall_ms: route.write_stall_ms.unwrap_or(engine.write_stall_ms),
        websocket_idle_ms: route.websocket_idle_ms.unwrap_or(engine.websocket_idle_ms),
        ..*engine
    }
}

/// Validation has refused such rules; embedders may publish models of their own.
fn refused(route: &model::Route, error: &RuleError) -> PublishError {
    PublishError { key: format!("route {}, paths[{}]", route.id, error.rule), reason: error.reason.clone() }
}
