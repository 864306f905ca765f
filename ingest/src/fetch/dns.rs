//! Names to addresses that may be asked.
//!
//! Filtering where the connection is made, not before, leaves a name no second answer to change its mind with.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::{PrivateAddress, Reach, allows};

/// The system's resolver, less what is not public.
pub(super) struct Guarded(pub(super) Reach);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let any = !found.is_empty();
            let public: Vec<_> = found
                .into_iter()
                .filter(|at| allows(at.ip(), reach))
                .collect();
            if any && public.is_empty() {
                return Err(PrivateAddress.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}
