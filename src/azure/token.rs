//! One token for all calls, kept fresh: refreshed early by one flight at a time, used until it really
//! expires, replaced once when the service refuses it. Expiry is kept on the boot-time clock, which no
//! step of the wall clock and no suspend can fool.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::credential::Environment;
use super::entra::{self, Denial};
use super::http::{Bearer, Http, Target};
use super::outcome::TransportError;
use super::{ClientError, assertion, credential};
use crate::clock::{Clock, Now};
use crate::config::{Azure, Credential, TokenEndpoint};
use crate::event::chain;
use crate::event::{Event, Fields, Level, Name};

/// Takes events as they happen.
pub type Sink = Arc<dyn Fn(Event) + Send + Sync>;

/// How long one token request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A token is refreshed when less than this is left, or half its lifetime if that is less.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);
/// The least time between the request for a token and its refresh, whatever the service would like.
const LEAST_REFRESH: Duration = Duration::from_secs(30);
/// The longest wait that the token endpoint may ask for (MSAL's own limit).
const MOST_WAIT: Duration = Duration::from_secs(3_600);
/// Between two tokens that are thrown away since the service refused them: if a fresh one does not help, the
/// next will not either, and Entra ID locks out callers that go on (AADSTS50196).
const REJECT_AGAIN: Duration = Duration::from_secs(60);
/// Between two events about the same failure.
const REPEAT: Duration = Duration::from_secs(60);

/// How many tokens this process has had.
static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// Whether calls can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenStatus {
    /// The generation of the newest token; 0 before the first.
    pub generation: u64,
}

impl TokenStatus {
    /// Whether there ever was a token.
    #[must_use]
    pub fn is_usable(self) -> bool {
        self.generation > 0
    }
}

/// A token and its times, on the boot clock.
#[derive(Debug, Clone)]
struct Current {
    bearer: Bearer,
    generation: u64,
    usable_until: Duration,
    refresh_at: Duration,
}

/// What is known of the token: the decisions are here, without any waiting.
#[derive(Debug, Default)]
struct State {
    current: Option<Current>,
    generation: u64,
    failures: u32,
    next_try: Duration,
    said_at: Option<Duration>,
    last_failure: String,
    /// Whether the last failure was Entra ID's own no.
    refused: bool,
    /// When the service last refused a token.
    rejected_at: Option<Duration>,
}

impl State {
    fn usable(&self, now: Duration) -> Option<&Current> {
        self.current.as_ref().filter(|current| now < current.usable_until)
    }

    /// When the next refresh is due.
    fn due_at(&self) -> Duration {
        self.current.as_ref().map_or(Duration::ZERO, |current| current.refresh_at).max(self.next_try)
    }

    /// Takes a token that was asked for at `asked`.
    fn granted(&mut self, bearer: Bearer, asked: Duration, lifetime: Duration, refresh_in: Option<Duration>) {
        // Of the whole process: a call that began with another client's token must not count against ours.
        self.generation = GENERATIONS.fetch_add(1, Ordering::Relaxed) + 1;
        // A call that leaves in the last moment must still arrive in time.
        let safety = Duration::from_secs(2).min(lifetime / 10);
        let refresh_in = refresh_in
            .filter(|refresh_in| *refresh_in < lifetime)
            .unwrap_or_else(|| lifetime.saturating_sub(REFRESH_BEFORE.min(lifetime / 2)))
            .max(LEAST_REFRESH.min(lifetime / 2).max(Duration::from_secs(1)));
        self.current = Some(Current {
            bearer,
            generation: self.generation,
            usable_until: asked + lifetime.saturating_sub(safety),
            refresh_at: asked + refresh_in,
        });
        self.failures = 0;
        self.refused = false;
        self.next_try = Duration::ZERO;
        self.said_at = None;
    }

    /// Throws the token of this generation away, unless the one before it was thrown away just now.
    fn rejected(&mut self, generation: u64, now: Duration) {
        let is_ours = self.current.as_ref().is_some_and(|current| current.generation == generation);
        if is_ours && self.rejected_at.is_none_or(|at| now.saturating_sub(at) >= REJECT_AGAIN) {
            self.rejected_at = Some(now);
            self.current = None;
        }
    }

    /// Notes a failure; returns whether it should be said.
    fn failed(&mut self, denial: &Denial, now: Duration) -> bool {
        let (first, most) = if denial.permanent { (60, 300) } else { (1, 30) };
        let doubled = 1_u64.checked_shl(self.failures.min(16)).unwrap_or(u64::MAX);
        let wait = Duration::from_secs((first * doubled).min(most))
            .max(denial.retry_after.unwrap_or_default().min(MOST_WAIT));
        self.failures += 1;
        self.refused = denial.permanent;
        self.next_try = now + wait;
        let news = self.last_failure != denial.message;
        let say = news || self.said_at.is_none_or(|said| now.saturating_sub(said) >= REPEAT);
        if say {
            self.said_at = Some(now);
            self.last_failure.clone_from(&denial.message);
        }
        say
    }
}

/// A token for one call.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) bearer: Bearer,
    pub(super) generation: u64,
}

/// Keeps the one token of an identity.
#[derive(Clone)]
pub struct TokenKeeper(Arc<Keeper>);

struct Keeper {
    http: Http,
    endpoint: Target,
    settings: Azure,
    clock: Arc<dyn Clock>,
    environment: Environment,
    announce: Sink,
    state: Mutex<State>,
    /// Held during a token request: one flight at a time.
    flight: tokio::sync::Mutex<()>,
    status: watch::Sender<TokenStatus>,
}

impl std::fmt::Debug for TokenKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKeeper({})", self.0.endpoint.as_str())
    }
}

impl TokenKeeper {
    pub(super) fn new(
        http: Http,
        settings: &Azure,
        clock: Arc<dyn Clock>,
        environment: Environment,
        announce: Sink,
    ) -> Result<Self, ClientError> {
        let path: &[&str] = match settings.token_endpoint {
            TokenEndpoint::V1 => &["oauth2", "token"],
            TokenEndpoint::V2 => &["oauth2", "v2.0", "token"],
        };
        let segments: Vec<&str> =
            std::iter::once(settings.tenant_id.as_str()).chain(path.iter().copied()).collect();
        let endpoint = Target::new(&settings.authority, &segments, &[]).map_err(ClientError::Url)?;
        Ok(Self(Arc::new(Keeper {
            http,
            endpoint,
            settings: settings.clone(),
            clock,
            environment,
            announce,
            state: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
            status: watch::Sender::new(TokenStatus { generation: 0 }),
        })))
    }

    /// Tells when a new token has come.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<TokenStatus> {
        self.0.status.subscribe()
    }

    /// For how long calls can still be made with the token in hand, if there is one.
    #[must_use]
    pub fn usable_for(&self) -> Option<Duration> {
        let now = self.0.clock.now().boot;
        self.0.state().usable(now).map(|current| current.usable_until - now)
    }

    /// Does every refresh that falls due during the next `period`. Called by the heartbeat.
    pub async fn keep_fresh(&self, period: Duration) {
        let until = self.0.clock.now().boot + period;
        loop {
            let (due, now) = (self.0.state().due_at(), self.0.clock.now());
            if due > until {
                return;
            }
            if due > now.boot {
                tokio::time::sleep(due - now.boot).await;
                continue;
            }
            // Another flight does the same work.
            let Ok(_flight) = self.0.flight.try_lock() else { return };
            if self.0.state().due_at() <= self.0.clock.now().boot {
                self.0.refresh().await;
            }
        }
    }

    /// The token, at once if there is a usable one; otherwise after the one request that gets it.
    ///
    /// # Errors
    /// Why there is none, when none can be had now.
    pub(super) async fn get(&self) -> Result<Token, String> {
        if let Some(token) = self.0.usable_token() {
            return Ok(token);
        }
        let _flight = self.0.flight.lock().await;
        // Whoever held the flight before may have brought one, or have been told to wait.
        if let Some(token) = self.0.usable_token() {
            return Ok(token);
        }
        if self.0.state().next_try <= self.0.clock.now().boot {
            self.0.refresh().await;
        }
        self.0.usable_token().ok_or_else(|| self.0.state().last_failure.clone())
    }

    /// The service refused the token of this generation: it is not used again, however many calls say so.
    pub fn reject(&self, generation: u64) {
        let now = self.0.clock.now().boot;
        self.0.state().rejected(generation, now);
    }

    /// Sees to it that there is a usable token; returns for how long it is usable.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn acquire(&self) -> Result<Duration, String> {
        self.get().await?;
        Ok(self.usable_for().unwrap_or_default())
    }

    /// Whether there is no token because Entra ID said no, and not because nobody answered.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.0.state().refused
    }

    /// Why the last request for a token failed, if it did.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let state = self.0.state();
        (state.failures > 0).then(|| state.last_failure.clone())
    }

    /// A person has changed something: the wait after a failure is over.
    pub fn try_again(&self) {
        self.0.state().next_try = Duration::ZERO;
    }
}

impl Keeper {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held cannot leave it half changed: every change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable_token(&self) -> Option<Token> {
        let now = self.clock.now().boot;
        let state = self.state();
        let current = state.usable(now)?;
        Some(Token { bearer: current.bearer.clone(), generation: current.generation })
    }

    /// Asks for a token, once.
    async fn refresh(&self) {
        // Counted from before the request, the token never lasts longer here than there.
        let asked = self.clock.now();
        let result = match self.request(asked).await {
            Ok(grant) => match Bearer::new(&grant.token) {
                Some(bearer) => Ok((grant, bearer)),
                None => Err(local("the token holds characters that no header may have".to_owned())),
            },
            Err(denial) => Err(denial),
        };
        match result {
            Ok((grant, bearer)) => {
                let lifetime = grant.lifetime;
                let generation = {
                    let mut state = self.state();
                    state.granted(bearer, asked.boot, lifetime, grant.refresh_in);
                    state.generation
                };
                let fields = Fields { expires_in_secs: Some(lifetime.as_secs()), ..Fields::default() };
                let message = format!("a token for {} s is in use", lifetime.as_secs());
                (self.announce)(Event::new(Level::Info, Name::TokenAcquired, message, fields));
                self.status.send_replace(TokenStatus { generation });
            }
            Err(denial) => self.say_failed(&denial),
        }
    }

    fn say_failed(&self, denial: &Denial) {
        let now = self.clock.now().boot;
        let mut state = self.state();
        let left = state.usable(now).map_or(Duration::ZERO, |current| current.usable_until - now);
        let retry_in = if state.failed(denial, now) { state.next_try - now } else { return };
        drop(state);
        let fields = Fields {
            usable_for_secs: Some(left.as_secs()),
            aadsts: denial.aadsts.clone(),
            error_message: Some(denial.message.clone()),
            retry_in_ms: u64::try_from(retry_in.as_millis()).ok(),
            ..Fields::default()
        };
        let (level, rest) = if left.is_zero() {
            (Level::Error, "firings wait".to_owned())
        } else {
            (Level::Warn, format!("the old one is good for another {} s", left.as_secs()))
        };
        let message = format!("no new token, {rest}: {}", denial.message);
        (self.announce)(Event::new(level, Name::TokenRefreshFailed, message, fields));
    }

    async fn request(&self, now: Now) -> Result<entra::Grant, Denial> {
        let settings = &self.settings;
        let (field, proof) = match &settings.credential {
            Credential::Secret(source) => {
                let secret =
                    credential::fetch(source, &self.environment).await.map_err(|e| local(chain(&e)))?;
                ("client_secret", secret)
            }
            Credential::Certificate(source) => {
                let pem = credential::fetch(source, &self.environment).await.map_err(|e| local(chain(&e)))?;
                let jti = uuid::Uuid::new_v4();
                let signed =
                    assertion::sign(&pem, &settings.client_id, self.endpoint.as_str(), jti, now.wall)
                        .map_err(|e| local(chain(&e)))?;
                ("client_assertion", signed)
            }
        };
        let scope = format!("{}/.default", settings.audience.trim_end_matches('/'));
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", settings.client_id.as_str()),
            match settings.token_endpoint {
                TokenEndpoint::V1 => ("resource", settings.audience.as_str()),
                TokenEndpoint::V2 => ("scope", scope.as_str()),
            },
            (field, proof.expose()),
        ];
        if field == "client_assertion" {
            form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        }
        match self.http.post_form(&self.endpoint, &form, TIMEOUT).await {
            Ok(answer) => entra::read(&answer, now.wall),
            Err(TransportError::NotSent(detail) | TransportError::Lost(detail)) => Err(Denial {
                message: format!("Entra ID at {} did not answer: {detail}", self.settings.authority),
                aadsts: None,
                permanent: false,
                retry_after: None,
            }),
        }
    }
}

/// A failure on this host: a person will mend it, and it costs nobody anything to look again soon.
fn local(message: String) -> Denial {
    Denial { message, aadsts: None, permanent: false, retry_after: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn bearer() -> Bearer {
        Bearer::new(&crate::secret::Secret::new("canary".into())).unwrap()
    }

    fn with_token(lifetime: u64, refresh_in: Option<u64>) -> State {
        let mut state = State::default();
        state.granted(
            bearer(),
            100 * S,
            S * u32::try_from(lifetime).unwrap(),
            refresh_in.map(Duration::from_secs),
        );
        state
    }

    fn denial(permanent: bool) -> Denial {
        Denial { message: "m".into(), aadsts: None, permanent, retry_after: None }
    }

    #[test]
    fn a_token_is_refreshed_early_and_used_until_it_expires() {
        let hour = with_token(3_600, None);
        assert_eq!(hour.due_at(), 3_400 * S);
        assert!(hour.usable(3_697 * S).is_some() && hour.usable(3_698 * S).is_none());
        let short = with_token(5, None);
        assert_eq!(short.due_at(), 102 * S + S / 2);
        assert!(short.usable(104 * S).is_some() && short.usable(104 * S + S / 2).is_none());
        assert_eq!(with_token(3_600, Some(1_800)).due_at(), 1_900 * S);
        assert_eq!(with_token(3_600, Some(0)).due_at(), 130 * S, "a service cannot make us ask in a loop");
        assert_eq!(with_token(0, None).due_at(), 101 * S);
    }

    #[test]
    fn a_failure_waits_longer_each_time_and_does_not_cost_the_old_token() {
        let mut state = with_token(3_600, None);
        let mut now = 3_400 * S;
        let waits: Vec<u64> = (0..7)
            .map(|_| {
                state.failed(&denial(false), now);
                let wait = state.next_try - now;
                now = state.next_try;
                wait.as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert!(state.usable(now).is_some());
        let mut state = State::default();
        state.failed(&denial(true), S);
        assert_eq!(state.next_try, 61 * S);
    }

    #[test]
    fn the_same_failure_is_said_once_a_minute() {
        let mut state = State::default();
        assert!(state.failed(&denial(false), S));
        assert!(!state.failed(&denial(false), 2 * S));
        assert!(state.failed(&denial(false), 61 * S));
        assert!(state.failed(&Denial { message: "other".into(), ..denial(false) }, 62 * S));
    }

    #[test]
    fn a_token_that_is_refused_is_replaced_once_a_minute_at_the_most() {
        let mut state = with_token(3_600, None);
        state.rejected(state.generation + 1, 110 * S);
        assert!(state.usable(110 * S).is_some(), "that was another token");
        state.rejected(state.generation, 110 * S);
        assert!(state.usable(110 * S).is_none());
        state.granted(bearer(), 111 * S, 3_600 * S, None);
        state.rejected(state.generation, 112 * S);
        assert!(state.usable(112 * S).is_some(), "a fresh one did not help");
        state.rejected(state.generation, 171 * S);
        assert!(state.usable(171 * S).is_none());
    }

    #[test]
    fn no_debug_output_holds_the_token() {
        assert!(!format!("{:?}", with_token(60, None)).contains("canary"));
    }
}
