//! What is there before the first request: the bucket and its objects, made outside the clock over blocking connections.
//! Invariant: when filling ends well, every object was acknowledged and a listing names them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use memchr::memmem;

use super::{PAGE_KEYS, S3, heads, now, timestamp};
use crate::client::blocking::{Answer, Client};
use crate::client::resp;
use crate::prepare::sign::{Call, EMPTY_DIGEST, Signer};
use crate::scenario::{Protocol, Target};

/// Objects are made over so many connections at a time.
pub(in crate::scenarios) const CONNECTIONS: usize = 16;
/// So much of an answer is shown.
const WORDS_BYTES_MAX: usize = 300;
/// The region that a bucket is in when nobody says where.
const REGION_BY_DEFAULT: &str = "us-east-1";

impl S3 {
    /// Makes the bucket, unless it is ours already.
    pub(super) fn make_bucket(&self, target: &Target) -> Result<(), String> {
        let region = target.credentials.as_ref().map_or(REGION_BY_DEFAULT, |key| key.region.as_str());
        // Amazon S3, CreateBucket: the constraint must name the region of the request, and must not name us-east-1.
        let body = if region == REGION_BY_DEFAULT {
            String::new()
        } else {
            format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            )
        };
        let digest = if body.is_empty() {
            EMPTY_DIGEST.to_owned()
        } else {
            aws::encoding::hex(&hash::sha256(body.as_bytes()))
        };
        let path = format!("/{}", self.settings.bucket);
        let call =
            Call { method: "PUT", path: &path, query: "", payload: &digest, body_bytes: Some(body.len()) };
        let answer =
            ask(&mut Client::new(target.address, target.tls.as_ref()), target, &call, body.as_bytes())?;
        let is_ours =
            answer.status == 409 && memmem::find(&answer.body, b"BucketAlreadyOwnedByYou").is_some();
        if answer.status == 200 || is_ours { Ok(()) } else { Err(refused(&call, &answer)) }
    }

    /// Makes all objects.
    pub(super) fn make_objects(&self, target: &Target) -> Result<(), String> {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let makers: Vec<_> =
                (0..CONNECTIONS).map(|_| scope.spawn(|| self.make_some(target, &next))).collect();
            makers.into_iter().try_for_each(|maker| {
                maker.join().map_err(|_| "a thread that fills panicked".to_owned()).flatten()
            })
        })
    }

    /// Makes objects until there are none left to make; the first refusal ends the work of all.
    fn make_some(&self, target: &Target, next: &AtomicUsize) -> Result<(), String> {
        let mut maker = Maker::of(target)?;
        loop {
            let key = next.fetch_add(1, Ordering::Relaxed);
            if key >= self.settings.key_count {
                return Ok(());
            }
            let made = self.make_object(&mut maker, target, key);
            if made.is_err() {
                next.store(self.settings.key_count, Ordering::Relaxed);
                return made;
            }
        }
    }

    fn make_object(&self, maker: &mut Maker, target: &Target, key: usize) -> Result<(), String> {
        let path = self.path(key);
        let call = self.put(&path, key);
        let client = match maker {
            Maker::Http(client) => client,
            Maker::Redis(filler) => return filler.set(heads::key(&path), &self.content.body(key)),
        };
        let answer = ask(client, target, &call, &self.content.body(key))?;
        if answer.status == 200 { Ok(()) } else { Err(refused(&call, &answer)) }
    }

    /// A server whose listings are empty would look fast.
    pub(super) fn check_listing(&self, target: &Target) -> Result<(), String> {
        let path = format!("/{}", self.settings.bucket);
        let query = self.page_query(0);
        let call = self.get(&path, &query);
        let answer = ask(&mut Client::new(target.address, target.tls.as_ref()), target, &call, b"")?;
        if answer.status != 200 {
            return Err(refused(&call, &answer));
        }
        let named = memmem::find_iter(&answer.body, b"<Key>").count();
        let expected = self.settings.key_count.min(PAGE_KEYS);
        // Objects of an earlier, larger filling may be there too.
        if named >= expected { Ok(()) } else { Err(format!("a listing names {named} of {expected} objects")) }
    }
}

/// A connection that makes objects.
enum Maker {
    Http(Client),
    Redis(resp::Filler),
}

impl Maker {
    fn of(target: &Target) -> Result<Maker, String> {
        match target.protocol {
            Protocol::Redis => {
                resp::Filler::connect(target.address, target.credentials.as_ref()).map(Maker::Redis)
            }
            Protocol::Http => Ok(Maker::Http(Client::new(target.address, target.tls.as_ref()))),
            Protocol::Nats | Protocol::Amqp { .. } => Err("a queue has no objects to be made".to_owned()),
        }
    }
}

/// Signed as of this moment: filling may take longer than a signature is good for.
pub(in crate::scenarios) fn ask(
    client: &mut Client,
    target: &Target,
    call: &Call<'_>,
    body: &[u8],
) -> Result<Answer, String> {
    let mut head = Vec::new();
    Signer::new(&target.host, target.credentials.as_ref(), timestamp(now())).append(&mut head, call);
    client.exchange(&head, body)
}

/// What is said of an answer that is not good.
pub(in crate::scenarios) fn refused(call: &Call<'_>, answer: &Answer) -> String {
    let shown = &answer.body[..answer.body.len().min(WORDS_BYTES_MAX)];
    let words = String::from_utf8_lossy(shown);
    format!("{} {} was answered {}: {words}", call.method, call.path, answer.status)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::prepare::keys::Distribution;
    use crate::scenario::{Credentials, Scenario as _};
    use crate::scenarios::s3::{Operation, Settings};

    /// What comes of making a bucket in `region` when the server answers so, and the request that it saw.
    fn made(region: &str, answer: &'static str) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("accepted");
            let mut seen = [0; 4_096];
            // The client sends a head and a small body at once.
            let count = socket.read(&mut seen).expect("a request");
            let length = answer.len();
            let head = format!("HTTP/1.1 409 Conflict\r\nContent-Length: {length}\r\n\r\n{answer}");
            socket.write_all(head.as_bytes()).expect("written");
            String::from_utf8_lossy(&seen[..count]).into_owned()
        });
        let credentials = Credentials {
            access_key: "AK".to_owned(),
            secret_key: "secret".to_owned(),
            region: region.to_owned(),
        };
        let target = Target::at(&address.to_string()).expect("an address");
        let target = Target { credentials: Some(credentials), ..target };
        let scenario = S3::new(Settings {
            operation: Operation::Put,
            bucket: "bench".to_owned(),
            value_bytes: 10,
            key_count: 1,
            distribution: Distribution::Unique,
            is_payload_signed: true,
            seed: 1,
        });
        let made = scenario.fill(&target);
        (made, server.join().expect("ended"))
    }

    #[test]
    fn a_bucket_that_is_ours_already_will_do_and_that_of_another_will_not() {
        let (ours, request) = made("us-east-1", "<Code>BucketAlreadyOwnedByYou</Code>");
        assert!(ours.is_ok() && request.starts_with("PUT /bench HTTP/1.1\r\n"));
        assert!(request.contains("Content-Length: 0\r\n") && request.ends_with("\r\n\r\n"));
        let (others, _) = made("us-east-1", "<Code>BucketAlreadyExists</Code>");
        assert!(others.is_err_and(|words| words.contains("409: <Code>BucketAlreadyExists")));
    }

    #[test]
    fn a_bucket_elsewhere_than_in_the_first_region_says_where() {
        let (_, request) = made("garage", "<Code>BucketAlreadyOwnedByYou</Code>");
        assert!(request.contains("<LocationConstraint>garage</LocationConstraint>"), "{request}");
    }
}
