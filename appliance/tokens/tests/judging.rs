//! Who is let in: by stored tokens over their whole life, by tokens of the environment, by signatures, and by nothing.

mod world;

use store::Timestamp;
use tokens::{Anonymous, Denied, Principal, Refused, Scope, Scopes, Wanted, Who};
use world::{Directory, READ_TOKEN, START, WRITE_TOKEN, World, bearer, request, with_world};

const HOUR_MS: u64 = 3_600_000;

fn wanted(name: &str, scope: Scope) -> Wanted {
    Wanted { name: name.into(), scopes: Scopes::NONE.with(scope), namespaces: vec![], expires: None }
}

fn opens(world: &World, text: &str) -> bool {
    match world.judge(&bearer(text)) {
        Ok(_) => true,
        Err(Denied::WrongToken) => false,
        Err(denied) => panic!("{denied:?}"),
    }
}

fn let_in(world: &World, peer: &str, fields: &[(&str, &str)]) -> Result<Principal, Denied> {
    world.judge(&request(peer, fields))
}

#[test]
fn a_token_comes_in_as_bearer_as_basic_password_and_in_the_header_for_proxies() {
    with_world(&Directory::new(), |world| async move {
        let token = world.create(wanted("ci", Scope::CacheWrite)).await.expect("made");
        let text = token.reveal();
        let basic = |pair: String| format!("Basic {}", aws::encoding::base64(pair.as_bytes()));
        for fields in [
            vec![("authorization", format!("Bearer {text}"))],
            vec![("authorization", format!("bearer  {text} "))],
            vec![("authorization", basic(format!("anyone:{text}")))],
            vec![("authorization", basic(format!(":{text}")))],
            vec![("x-zero-token", text.clone())],
            vec![("x-zero-token", text.clone()), ("authorization", basic("proxy:password".into()))],
        ] {
            let fields: Vec<(&str, &str)> =
                fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let principal = let_in(&world, "127.0.0.1", &fields).expect("let in");
            assert_eq!(principal.who, Who::Token(token.id));
            assert_eq!(principal.token_id(), token.id.as_str());
            assert!(
                principal.may(Scope::CacheWrite, "anywhere") && !principal.may(Scope::CacheAdmin, "anywhere")
            );
        }
        for value in [
            format!("Token {text}"),
            format!("Bearer{text}"),
            "Bearer ".into(),
            format!("Basic {text}"),
            basic(text.clone()),
            basic(format!("{text}:")),
            format!("Bearer {}", "x".repeat(5_000)),
        ] {
            let denied = let_in(&world, "127.0.0.1", &[("authorization", &value)]).expect_err("refused");
            assert!(matches!(denied, Denied::WrongToken), "{value}: {denied:?}");
            assert!(!denied.message().contains(&text));
        }
    });
}

#[test]
fn a_token_is_good_only_for_its_namespaces_and_means_the_first_one() {
    with_world(&Directory::new(), |world| async move {
        let namespaces = vec!["web".into(), "app".into()];
        let token =
            world.create(Wanted { namespaces, ..wanted("ci", Scope::CacheAdmin) }).await.expect("made");
        let principal = world.judge(&bearer(&token.reveal())).expect("let in");
        assert_eq!(principal.namespace(), "web");
        assert!(principal.may(Scope::CacheAdmin, "app") && !principal.may(Scope::CacheRead, "other"));
        assert!(!principal.may_everywhere(Scope::CacheRead));
        let free = world.create(wanted("all", Scope::CacheAdmin)).await.expect("made");
        let free = world.judge(&bearer(&free.reveal())).expect("let in");
        assert_eq!(free.namespace(), "default");
        assert!(free.may_everywhere(Scope::CacheAdmin));
    });
}

#[test]
fn a_revoked_token_opens_nothing_from_then_on() {
    let directory = Directory::new();
    let mut kept = Vec::new();
    let keep = &mut kept;
    with_world(&directory, |world| async move {
        let first = world.create(wanted("first", Scope::CacheRead)).await.expect("made");
        let second = world.create(wanted("second", Scope::CacheRead)).await.expect("made");
        assert!(opens(&world, &first.reveal()) && opens(&world, &second.reveal()));
        world.revoke(first.id).await.expect("revoked");
        assert!(!opens(&world, &first.reveal()) && opens(&world, &second.reveal()));
        assert!(matches!(world.revoke(first.id).await, Err(Refused::NotFound)));
        assert!(matches!(world.rotate(first.id, 0).await, Err(Refused::NotFound)));
        *keep = vec![first.reveal(), second.reveal()];
    });
    with_world(&directory, |world| async move {
        assert!(!opens(&world, &kept[0]) && opens(&world, &kept[1]), "and after a restart");
        assert_eq!(world.list().len(), 1);
    });
}

#[test]
fn a_rotated_token_keeps_its_former_secret_for_the_overlap() {
    with_world(&Directory::new(), |world| async move {
        let first = world.create(wanted("ci", Scope::CacheRead)).await.expect("made");
        let second = world.rotate(first.id, HOUR_MS).await.expect("rotated");
        assert_eq!(first.id, second.id);
        assert_ne!(first.reveal(), second.reveal());
        assert!(opens(&world, &first.reveal()) && opens(&world, &second.reveal()));
        world.advance_ms(HOUR_MS - 1);
        assert!(opens(&world, &first.reveal()));
        world.advance_ms(1);
        assert!(!opens(&world, &first.reveal()) && opens(&world, &second.reveal()));
        let third = world.rotate(first.id, 0).await.expect("rotated");
        assert!(!opens(&world, &second.reveal()) && opens(&world, &third.reveal()), "no overlap");
        let fourth = world.rotate(first.id, HOUR_MS).await.expect("rotated");
        let fifth = world.rotate(first.id, HOUR_MS).await.expect("rotated");
        assert!(!opens(&world, &third.reveal()), "only the last one is kept");
        assert!(opens(&world, &fourth.reveal()) && opens(&world, &fifth.reveal()));
        let refused = world.rotate(first.id, tokens::OVERLAP_MS_MAX + 1).await;
        assert!(matches!(refused, Err(Refused::Invalid(_))));
    });
}

#[test]
fn an_expired_token_opens_nothing() {
    with_world(&Directory::new(), |world| async move {
        let expires = Some(START.plus_ms(1_000));
        let token = world.create(Wanted { expires, ..wanted("ci", Scope::CacheRead) }).await.expect("made");
        world.advance_ms(999);
        assert!(opens(&world, &token.reveal()));
        world.advance_ms(1);
        assert!(!opens(&world, &token.reveal()));
    });
}

#[test]
fn a_wish_that_makes_no_sense_is_refused() {
    with_world(&Directory::new(), |world| async move {
        let good = wanted("ci", Scope::CacheRead);
        let many = (0..65).map(|number| format!("n{number}")).collect();
        for bad in [
            Wanted { name: String::new(), ..good.clone() },
            Wanted { name: "x".repeat(65), ..good.clone() },
            Wanted { name: "a\nb".into(), ..good.clone() },
            Wanted { scopes: Scopes::NONE, ..good.clone() },
            Wanted { namespaces: vec!["Web".into()], ..good.clone() },
            Wanted { namespaces: vec![String::new()], ..good.clone() },
            Wanted { namespaces: many, ..good.clone() },
            Wanted { expires: Some(START), ..good.clone() },
            Wanted { expires: Some(Timestamp(1)), ..good.clone() },
        ] {
            let refused = world.create(bad.clone()).await;
            assert!(matches!(refused, Err(Refused::Invalid(_))), "{bad:?}");
        }
        assert!(world.list().is_empty());
    });
}

#[test]
fn the_list_shows_tokens_by_age_with_the_hour_of_their_last_use() {
    with_world(&Directory::new(), |world| async move {
        let mut made = Vec::new();
        for name in ["one", "two", "three"] {
            made.push(world.create(wanted(name, Scope::CacheRead)).await.expect("made"));
            world.advance_ms(1_000);
        }
        let names =
            |world: &World| world.list().iter().map(|(_, record)| record.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&world), ["one".into(), "two".into(), "three".into()]);
        world.advance_ms(HOUR_MS);
        assert!(opens(&world, &made[1].reveal()));
        assert!(!opens(&world, &made[0].reveal().replace("zct_", "zcx_")));
        world.tick().await;
        let hours: Vec<u64> = world.list().iter().map(|(_, record)| record.used_hour).collect();
        assert_eq!(hours, [0, world.clock.now().0 / HOUR_MS, 0]);
        // A token that goes between its use and the tick stays gone.
        assert!(opens(&world, &made[2].reveal()));
        world.revoke(made[2].id).await.expect("revoked");
        world.tick().await;
        assert_eq!(world.list().len(), 2);
    });
}

#[test]
fn a_token_of_the_environment_has_its_rights_everywhere() {
    with_world(&Directory::new(), |world| async move {
        let reader = world.judge(&bearer(READ_TOKEN)).expect("let in");
        assert_eq!((reader.token_id(), reader.namespace()), ("env-read", "default"));
        assert!(reader.may(Scope::CacheRead, "any") && !reader.may(Scope::CacheWrite, "any"));
        let writer = world.judge(&bearer(WRITE_TOKEN)).expect("let in");
        assert_eq!(writer.token_id(), "env-write");
        assert!(writer.may(Scope::CacheWrite, "any") && !writer.may(Scope::CacheAdmin, "any"));
    });
}

#[test]
fn a_signature_of_the_root_account_is_an_admins_and_one_of_another_account_opens_nothing() {
    with_world(&Directory::new(), |world| async move {
        let mut signed = request("192.0.2.1", &[]);
        signed.caller = world::signed_by(world::ROOT);
        let root = world.judge(&signed).expect("let in");
        assert!(root.may_everywhere(Scope::CacheAdmin));
        assert_eq!(root.token_id(), "root");
        signed.caller = world::signed_by("111111111111");
        assert!(matches!(world.judge(&signed), Err(Denied::WrongToken)));
    });
}

#[test]
fn nobody_comes_in_without_a_credential_unless_the_configuration_says_so() {
    with_world(&Directory::new(), |world| async move {
        let nobody = request("192.0.2.1", &[]);
        assert!(matches!(world.judge(&nobody), Err(Denied::NoToken)));
        world.tokens.set_anonymous(Anonymous::Reads);
        let reader = world.judge(&nobody).expect("let in");
        assert!(reader.may(Scope::CacheRead, "any") && !reader.may(Scope::CacheWrite, "any"));
        assert_eq!(reader.token_id(), "anonymous");
        assert!(!opens(&world, "wrong"), "a wrong token is wrong all the same");
        world.tokens.set_anonymous(Anonymous::Writes);
        let writer = world.judge(&nobody).expect("let in");
        assert!(writer.may(Scope::CacheWrite, "any") && !writer.may(Scope::CacheAdmin, "any"));
        world.tokens.set_anonymous(Anonymous::Refused);
        assert!(matches!(world.judge(&nobody), Err(Denied::NoToken)));
        assert_eq!(world.tokens.denied()[..2], [("no_token", 2), ("wrong_token", 1)]);
    });
}

#[test]
fn a_token_over_plain_http_from_another_machine_is_refused_right_or_wrong() {
    with_world(&Directory::new(), |world| async move {
        let right = format!("Bearer {WRITE_TOKEN}");
        for value in [right.as_str(), "Bearer wrong", "Basic %"] {
            for peer in ["192.0.2.1", "[2001:db8::1]", "10.0.0.1"] {
                let denied = let_in(&world, peer, &[("authorization", value)]).expect_err("refused");
                assert!(matches!(denied, Denied::Plaintext), "{value} from {peer}: {denied:?}");
            }
        }
        for peer in ["127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(let_in(&world, peer, &[("authorization", &right)]).is_ok(), "{peer}");
        }
        let mut encrypted = request("192.0.2.1", &[("authorization", &right)]);
        encrypted.head.tls = true;
        assert!(world.judge(&encrypted).is_ok());
        let allowing = tokens::Tokens::new(tokens::Settings { allow_plaintext: true, ..world::settings() });
        let mut world = world;
        world.tokens = allowing;
        assert!(let_in(&world, "192.0.2.1", &[("authorization", &right)]).is_ok());
    });
}

#[test]
fn an_address_with_many_wrong_tokens_waits_and_no_long_token_waits_with_it() {
    with_world(&Directory::new(), |world| async move {
        let token = world.create(wanted("ci", Scope::CacheRead)).await.expect("made");
        let from = |peer: &str, text: &str| {
            let mut request = request(peer, &[("authorization", &format!("Bearer {text}"))]);
            request.head.tls = true;
            world.judge(&request)
        };
        let wait = |peer: &str| {
            let mut tries = 0;
            loop {
                match from(peer, "wrong") {
                    Err(Denied::WrongToken) => tries += 1,
                    Err(Denied::TooManyFailures { retry_after_seconds }) => {
                        break (tries, retry_after_seconds);
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        assert_eq!(wait("192.0.2.1"), (20, 1));
        assert!(from("192.0.2.1", &token.reveal()).is_ok(), "a stored token cannot be guessed");
        assert!(from("192.0.2.1", WRITE_TOKEN).is_ok(), "nor can a long one");
        assert!(matches!(from("192.0.2.1", READ_TOKEN), Err(Denied::TooManyFailures { .. })));
        assert!(from("198.51.100.7", READ_TOKEN).is_ok(), "another address does not wait");
        world.advance_ms(1_000);
        assert!(from("192.0.2.1", READ_TOKEN).is_ok());
        assert_eq!(wait("192.0.2.1"), (1, 2));
        assert_eq!(wait("127.0.0.1"), (20, 1));
        assert!(from("127.0.0.1", READ_TOKEN).is_ok(), "all of this machine have one address");
    });
}
