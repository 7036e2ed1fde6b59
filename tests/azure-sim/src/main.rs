//! The stand-in for Azure as a program, for trying things by hand and for tests in other machines.

use std::io::Write as _;
use std::net::SocketAddr;

use azure_sim::{Place, Sim};
use clap::Parser;

/// A stand-in for Entra ID and Azure Data Factory.
///
/// It prints its URL, which is both `authority` and `resource_manager`, and runs until it is ended.
/// GET /sim/state, /sim/runs and /sim/requests tell what it saw; PATCH /sim/switches makes it misbehave.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen, on loopback.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The client that is known.
    #[arg(long, default_value = "6731de76-14a6-49ae-97bc-6eba6914391e")]
    client_id: String,
    /// Its secret.
    #[arg(long, default_value = "secret")]
    client_secret: String,
    /// The subscription of the one factory that there is; PATCH /sim/switches with "factories": null knows any.
    #[arg(long, default_value_t = Place::default().subscription)]
    subscription: String,
    /// Its resource group.
    #[arg(long, default_value_t = Place::default().resource_group)]
    resource_group: String,
    /// Its name.
    #[arg(long, default_value_t = Place::default().factory)]
    factory: String,
    /// How long tokens are good for, in seconds.
    #[arg(long, default_value_t = 3_599)]
    token_lifetime: u64,
}

fn main() -> anyhow::Result<()> {
    let Arguments { listen, client_id, client_secret, subscription, resource_group, factory, token_lifetime } =
        Arguments::parse();
    let sim = Sim::start_on(listen)?;
    sim.set(|switches| {
        switches.client_id = client_id;
        switches.client_secret = client_secret;
        switches.factories = Some(vec![Place { subscription, resource_group, factory }]);
        switches.token_lifetime_secs = token_lifetime;
    });
    writeln!(std::io::stdout(), "{}", sim.url())?;
    loop {
        std::thread::park();
    }
}
