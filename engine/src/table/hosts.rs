//! Interim: virtual hosts to routes.

use std::collections::HashMap;
use std::sync::Arc;

use config_core::model::{Route, Routes, VirtualHost};

pub(crate) struct Router<T>(HashMap<VirtualHost, Arc<T>>);

impl<T> Router<T> {
    pub(crate) fn build<E>(
        routes: &Routes,
        shared: Option<(&Routes, &Router<T>)>,
        mut compile: impl FnMut(&Arc<Route>) -> Result<Arc<T>, E>,
    ) -> Result<Router<T>, E> {
        let mut hosts = HashMap::new();
        for route in routes.iter() {
            let same =
                shared.filter(|(before, _)| before.get(&route.id).is_some_and(|old| Arc::ptr_eq(old, route)));
            let known = same.and_then(|(_, router)| router.by_vhost(&route.vhost)).cloned();
            hosts.insert(
                route.vhost.clone(),
                match known {
                    Some(known) => known,
                    None => compile(route)?,
                },
            );
        }
        Ok(Router(hosts))
    }

    pub(crate) fn by_vhost(&self, vhost: &VirtualHost) -> Option<&Arc<T>> {
        self.0.get(vhost)
    }

    pub(crate) fn find(&self, host: &[u8]) -> Option<&Arc<T>> {
        if self.0.len() == 1 && self.0.contains_key(&VirtualHost::Any) {
            return self.0.get(&VirtualHost::Any);
        }
        let text = String::from_utf8_lossy(host).to_ascii_lowercase();
        let name = text.rsplit_once(':').map_or(text.as_str(), |(name, _)| name).trim_end_matches('.');
        let mut rest = name;
        if let Some(exact) = self.0.get(&VirtualHost::Exact(name.into())) {
            return Some(exact);
        }
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(found) = self.0.get(&VirtualHost::Wildcard(suffix.into())) {
                return Some(found);
            }
            rest = suffix;
        }
        self.0.get(&VirtualHost::Any)
    }
}
