//! The router by itself: hosts, rules, and the publication of one changed route.

use std::convert::Infallible;
use std::sync::Arc;

use config_core::model::{Dns, Model, Route, Routes, Rule};
use config_core::{RouteId, Snapshot};

use crate::dns::Names;
use crate::router::{RewriteError, Router, RuleCache, RuleMatch, Rules};
use crate::table::compile::Table;

/// The look-up of hosts. What is found is the id of the route.
pub struct Hosts {
    router: Router<RouteId>,
}

impl Hosts {
    /// Compiles the routes, or those that differ from `running`.
    pub fn build(routes: &Routes, running: Option<(&Routes, &Hosts)>) -> Hosts {
        let running = running.map(|(routes, hosts)| (routes, &hosts.router));
        let compile = |route: &Arc<Route>| Ok::<_, Infallible>(Arc::new(route.id.clone()));
        let Ok(router) = Router::build(routes, running, compile);
        Hosts { router }
    }

    /// Which route serves a `Host` value.
    #[inline]
    pub fn find(&self, host: &[u8]) -> Option<&RouteId> {
        self.router.find(host).map(|id| &**id)
    }
}

/// The rules of one route, and what one core keeps for searches.
pub struct PathRules {
    rules: Rules,
    cache: RuleCache,
}

impl PathRules {
    /// Compiles the rules.
    ///
    /// # Errors
    /// Index of the rule that does not compile, and why.
    pub fn compile(rules: &[Rule]) -> Result<PathRules, (usize, String)> {
        let rules = Rules::compile(rules).map_err(|error| (error.rule, error.reason))?;
        Ok(PathRules { rules, cache: RuleCache::new() })
    }

    /// Index of the first rule that takes a request.
    #[inline]
    pub fn find(&mut self, method: &[u8], path: &[u8]) -> Option<usize> {
        self.rules.find(&mut self.cache, method, path).map(|found| found.rule)
    }

    /// The target or location that a rule, which takes the request, asks for; `None` where it asks for none.
    ///
    /// # Errors
    /// The status of the refusal where what the path holds must not become a target.
    pub fn rewrite(
        &mut self,
        rule: usize,
        path: &[u8],
        query: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, u16> {
        let mut out = Vec::new();
        match self.rules.rewrite(&mut self.cache, RuleMatch { rule }, path, query, &mut out) {
            Ok(is_written) => Ok(is_written.then_some(out)),
            Err(RewriteError::DotSegments) => Err(400),
            Err(RewriteError::TooLong) => Err(414),
        }
    }
}

/// A table that runs, to publish changes of.
pub struct Running {
    names: Names,
    table: Table,
}

/// A table that has been compiled, and not published.
pub struct Compiled {
    _table: Table,
}

impl Running {
    /// Compiles a model for two cores.
    ///
    /// # Errors
    /// With what does not compile.
    pub fn start(model: Model) -> Result<Running, String> {
        let names = Names::start(&Dns::default());
        let table = Table::compile(Arc::new(Snapshot::new(model, 1)), 2, &names, None);
        Ok(Running { table: table.map_err(|error| error.to_string())?, names })
    }

    /// What a changed route costs before it is published: set, snapshot and table, each sharing the rest with this one.
    ///
    /// # Errors
    /// With what does not compile, or which route has its virtual host.
    pub fn change(&self, route: Arc<Route>) -> Result<Compiled, String> {
        let before = self.table.model();
        let routes = before.routes.with(route).map_err(|conflict| conflict.with.to_string())?;
        let snapshot = Snapshot::new(Model { routes, ..before.clone() }, 2);
        let table = Table::compile(Arc::new(snapshot), 2, &self.names, Some(&self.table));
        Ok(Compiled { _table: table.map_err(|error| error.to_string())? })
    }
}
