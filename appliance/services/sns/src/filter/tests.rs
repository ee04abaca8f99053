//! Policies and messages of the developer guide, AWS's words for refusals, limits, and random policies against
//! reference.rs.
//!
//! Random; a failure prints its seed, and `SNS_TEST_SEED=<seed> cargo test -p zerocloud-sns --lib filter` replays it.

use serde_json::{Map, Value, json};

use super::*;

fn body_filter(policy: &Value) -> Filter {
    Filter::parse(&policy.to_string(), Scope::MessageBody).expect("a policy")
}

fn wants_body(policy: &Value, body: &Value) -> bool {
    body_filter(policy).matches(&Message::new(Vec::new(), &body.to_string()))
}

/// Attributes as (name, data type, text).
fn wants_attributes(policy: &Value, attributes: &[(&str, &str, &str)]) -> bool {
    let filter = Filter::parse(&policy.to_string(), Scope::MessageAttributes).expect("a policy");
    let attributes = attributes.iter().map(|(name, kind, text)| Attribute::new(name, kind, text));
    filter.matches(&Message::new(attributes.collect(), "not looked at"))
}

#[test]
fn attributes_match_by_their_types() {
    let interests = ("customer_interests", "String.Array", r#"["soccer","rugby","hockey",3,true,null]"#);
    let store = ("store", "String", "example_corp");
    let price = ("price_usd", "Number", "210.75");
    let message = [interests, store, price];
    for policy in [
        json!({}),
        json!({"store": ["example_corp"]}),
        json!({"store": ["other", "example_corp"], "customer_interests": ["baseball", "rugby"]}),
        json!({"customer_interests": [3]}),
        json!({"customer_interests": [true]}),
        json!({"customer_interests": [null]}),
        json!({"customer_interests": [{"anything-but": ["soccer", "rugby"]}]}),
        json!({"customer_interests": [{"prefix": "hoc"}]}),
        json!({"price_usd": [{"numeric": [">=", 100, "<", 300]}]}),
        json!({"price_usd": [210.750]}),
        json!({"price_usd": [{"exists": true}]}),
        json!({"encrypted": [{"exists": false}]}),
        json!({"$or": [{"store": ["nobody"]}, {"price_usd": [{"numeric": ["=", 210.75]}]}]}),
        // Objects with reserved words for keys are no branches: this is a key of that name, which the message lacks.
        json!({"$or": [{"exists": false}, {"exists": false}], "store": ["example_corp"]}),
    ] {
        assert!(wants_attributes(&policy, &message), "{policy}");
    }
    for policy in [
        json!({"store": ["Example_corp"]}),
        json!({"store": ["example_corp"], "absent": ["x"]}),
        json!({"absent": [{"anything-but": "x"}]}),
        json!({"absent": [{"exists": true}]}),
        json!({"store": [{"exists": false}]}),
        json!({"price_usd": ["210.75"]}),
        json!({"store": [{"numeric": ["=", 1]}]}),
        json!({"price_usd": [{"numeric": ["<", 210.75]}]}),
    ] {
        assert!(!wants_attributes(&policy, &message), "{policy}");
    }
}

#[test]
fn binary_attributes_match_nothing_and_damaged_arrays_only_exist() {
    let message =
        [("b", "Binary", ""), ("a", "String.Array", "[1"), ("n", "Number.int", "7"), ("s", "String.x", "t")];
    assert!(!wants_attributes(&json!({"b": [{"exists": true}]}), &message));
    assert!(wants_attributes(&json!({"b": [{"exists": false}]}), &message));
    assert!(wants_attributes(&json!({"a": [{"exists": true}]}), &message));
    assert!(!wants_attributes(&json!({"a": [1, {"anything-but": 1}]}), &message));
    assert!(wants_attributes(&json!({"n": [7], "s": ["t"]}), &message));
    assert!(!wants_attributes(&json!({"A": [{"exists": true}]}), &message), "names have their case");
}

#[test]
fn bodies_match_through_objects_and_arrays() {
    let body = json!({
        "store": "example_corp", "event": {"type": "order", "tags": [["a"], "b"], "weight": 10.5, "none": null},
        "items": [{"sku": "x", "count": 1}, {"sku": "y", "count": 2}], "ip": "10.0.0.77", "empty": [], "$or": "key",
    });
    for policy in [
        json!({"event": {"type": ["order"], "tags": ["a"]}}),
        json!({"event": {"weight": [{"numeric": ["<=", 10.5]}], "none": [null]}}),
        json!({"items": {"sku": ["y"], "count": [2]}}),
        json!({"items": {"sku": ["x"]}}),
        json!({"event": {"missing": {"deep": [{"exists": false}]}}}),
        json!({"empty": [{"exists": false}], "event": [{"exists": false}]}),
        json!({"ip": [{"cidr": "10.0.0.0/24"}]}),
        json!({"store": [{"equals-ignore-case": "EXAMPLE_Corp"}]}),
        json!({"event": {"$or": [{"type": ["x"]}, {"weight": [10.5]}]}}),
        json!({"$or": ["key"]}),
    ] {
        assert!(wants_body(&policy, &body), "{policy}");
    }
    for policy in [
        json!({"items": {"sku": ["x"], "count": [2]}}),
        json!({"event": {"type": ["order"], "missing": ["x"]}}),
        json!({"event": ["order"]}),
        json!({"store": {"a": ["x"]}}),
        json!({"ip": [{"cidr": "10.0.1.0/24"}]}),
        json!({"event": {"none": [{"exists": false}]}}),
    ] {
        assert!(!wants_body(&policy, &body), "{policy}");
    }
    let filter = body_filter(&json!({"a": [1]}));
    for text in ["", "x", "[{\"a\":1}]", "{\"a\":1", "1"] {
        assert!(!filter.matches(&Message::new(Vec::new(), text)), "{text}");
    }
    assert!(
        filter.matches(&Message::new(Vec::new(), r#"{"a":2,"\u0061":1}"#)),
        "a name twice has both values"
    );
}

#[test]
fn refusals_have_their_words() {
    let too_long = format!(r#"{{"a":["{}"]}}"#, "x".repeat(POLICY_BYTES_MAX));
    for (policy, words) in [
        ("{", "failed to parse JSON."),
        ("[]", "Filter is not an object"),
        (&too_long, "Filter policy is too large"),
        (r#"{"a":"x"}"#, r#""a" must be an object or an array"#),
        (r#"{"a":[]}"#, "Empty arrays are not allowed"),
        (r#"{"a":{}}"#, "Empty objects are not allowed"),
        (r#"{"a":[["x"]]}"#, "Match value must be String, number, true, false, or null"),
        (r#"{"a":[{"exists":1}]}"#, "exists match pattern must be either true or false."),
        (r#"{"a":[{"prefix":1}]}"#, "prefix match pattern must be a string"),
        (r#"{"a":[{"suffix":["x"]}]}"#, "suffix match pattern must be a string"),
        (r#"{"a":[{"prefix":"x","suffix":"y"}]}"#, "Only one key allowed in match expression"),
        (r#"{"a":[{"foo":"x"}]}"#, "Unrecognized match type foo"),
        (r#"{"a":[{"anything-but":{"foo":"x"}}]}"#, "Unsupported anything-but pattern: foo"),
        (r#"{"a":[{"anything-but":[]}]}"#, "Empty arrays are not allowed"),
        (r#"{"a":[{"numeric":[]}]}"#, "Invalid member in numeric match: ]"),
        (r#"{"a":[{"numeric":[5]}]}"#, "Invalid member in numeric match: 5"),
        (r#"{"a":[{"numeric":["<>",5]}]}"#, "Unrecognized numeric range operator: <>"),
        (r#"{"a":[{"numeric":["=","5"]}]}"#, "Value of equals must be numeric"),
        (r#"{"a":[{"numeric":["<"]}]}"#, "Value of < must be numeric"),
        (r#"{"a":[{"numeric":["<",5,">",1]}]}"#, "Too many elements in numeric expression"),
        (r#"{"a":[{"numeric":[">",5,">",6]}]}"#, "Bad numeric range operator: >"),
        (r#"{"a":[{"numeric":[">",5,6]}]}"#, "Bad value in numeric range: 6"),
        (r#"{"a":[{"numeric":[">",5,"<",5]}]}"#, "Bottom must be less than top"),
        (r#"{"a":[{"numeric":[">",5,"<",6,"<"]}]}"#, "Too many terms in numeric range expression"),
        (r#"{"a":[1000000001]}"#, "Value must be between -1.0E9 and 1.0E9, inclusive"),
        (r#"{"a":[{"cidr":"10.0.0.0"}]}"#, "Malformed CIDR, one '/' required"),
        (r#"{"a":[{"cidr":"10.0.0.0/x"}]}"#, "Malformed CIDR, mask bits must be an integer"),
        (r#"{"a":[{"cidr":"bad/24"}]}"#, "Nonstandard IP address: bad"),
        (
            r#"{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}"#,
            "Filter policy can not have more than 5 keys",
        ),
    ] {
        let error = Filter::parse(policy, Scope::MessageBody).err().expect(words);
        assert_eq!(error.message(), format!("Invalid parameter: FilterPolicy: {words}"));
    }
    let nested = Filter::parse(r#"{"a":{"b":["x"]}}"#, Scope::MessageAttributes).err().expect("refused");
    let words = "Filter policy scope MessageAttributes does not support nested filter policy";
    assert_eq!(nested.message(), format!("Invalid parameter: {words}"));
    assert_eq!(nested.message_of_subscribe(), format!("Invalid parameter: Attributes Reason: {words}"));
}

#[test]
fn combinations_are_lengths_times_depths_and_branches_are_added_up() {
    let list = |count: usize| (0..count).map(|number| json!(format!("v{number}"))).collect::<Vec<_>>();
    for (policy, fits) in [
        (json!({"a": list(150)}), true),
        (json!({"a": list(151)}), false),
        (json!({"a": list(3), "b": list(50)}), true),
        (json!({"a": list(3), "b": list(51)}), false),
        // 3 x 4 x 2 x 3 = 72, the guide's example; with one value more 3 x 5 x 2 x 5 = 150, and 3 x 5 x 2 x 6 is over.
        (json!({"a": {"b": {"c": list(4)}}, "d": {"e": list(3)}}), true),
        (json!({"a": {"b": {"c": list(5)}}, "d": {"e": list(5)}}), true),
        (json!({"a": {"b": {"c": list(5)}}, "d": {"e": list(6)}}), false),
        (json!({"$or": [{"a": list(75)}, {"b": list(75)}]}), true),
        (json!({"$or": [{"a": list(75)}, {"b": list(76)}]}), false),
        (json!({"x": list(2), "$or": [{"a": list(38)}, {"b": list(38)}]}), false),
    ] {
        let outcome = Filter::parse(&policy.to_string(), Scope::MessageBody).map(|_| ());
        let words = outcome.as_ref().err().map(FilterError::message);
        assert_eq!(outcome.is_ok(), fits, "{policy}");
        if let Some(words) = words {
            assert_eq!(words, "Invalid parameter: FilterPolicy: Filter policy is too complex");
        }
    }
}

#[test]
fn hostile_depth_and_breadth_are_answered() {
    let deep = format!("{}[1]{}", "{\"a\":".repeat(150), "}".repeat(150));
    let filter = Filter::parse(&deep, Scope::MessageBody).expect("150 = 1 value at depth 150");
    let body = format!("{}1{}", "{\"a\":".repeat(150), "}".repeat(150));
    assert!(filter.matches(&Message::new(Vec::new(), &body)));
    for text in ["{\"a\":".repeat(40_000), "[".repeat(200_000), format!("{{\"a\":{}", "[".repeat(200_000))] {
        assert!(Filter::parse(&text, Scope::MessageBody).is_err());
        assert!(!filter.matches(&Message::new(Vec::new(), &text)));
    }
    // Many keys in a policy that counts as one combination, against a body of many empty objects.
    let keys: Map<String, Value> =
        (0..9_000).map(|key| (format!("k{key}"), json!([{"exists": false}]))).collect();
    let policy = json!({"a": keys}).to_string();
    let Err(error) = Filter::parse(&policy, Scope::MessageBody) else { panic!("2^9000 combinations") };
    assert!(error.message().contains("too complex"));
    let keys: Map<String, Value> =
        (0..7_000).map(|key| (format!("k{key}"), json!([{"exists": false}]))).collect();
    let filter = body_filter(&json!({"$or": [keys, {"x": [1]}]}));
    let many = format!(r#"{{"k1":[{}1]}}"#, "{},".repeat(80_000));
    assert!(!filter.matches(&Message::new(Vec::new(), &many)));
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn scalar(&mut self) -> Value {
        let scalars = json!([
            "", "a", "A", "ab", "b", "ä", "Ä", "10.0.0.1", "10.1.0.1", "::1", 0, 1, -1, 1.5, 2, 1e9, 2e9,
            true, false, null
        ]);
        self.pick(scalars.as_array().expect("a list"))
    }

    fn condition(&mut self) -> Value {
        let bounds = [-1.0, 0.0, 1.0, 1.5, 2.0];
        match self.below(12) {
            0 => json!({"prefix": self.pick(&["", "a", "ä"])}),
            1 => json!({"suffix": self.pick(&["", "b", "1"])}),
            2 => json!({"equals-ignore-case": self.pick(&["a", "AB", "Ä"])}),
            3 => json!({"exists": self.below(2) == 0}),
            4 => {
                json!({"anything-but": self.pick(&[json!("a"), json!(1), json!(["a", "b"]), json!([1, "ab"])])})
            }
            5 => json!({"anything-but": {self.pick(&["prefix", "suffix"]): self.pick(&["a", "b"])}}),
            6 => json!({"numeric": [self.pick(&["=", "<", "<=", ">", ">="]), self.pick(&bounds)]}),
            7 => {
                json!({"numeric": [self.pick(&[">", ">="]), -1, self.pick(&["<", "<="]), self.pick(&bounds[1..])]})
            }
            8 => json!({"cidr": self.pick(&["10.0.0.0/16", "0.0.0.0/0", "::/0", "::1/128", "10.0.0.1/32"])}),
            _ => match self.scalar() {
                // Beyond the range that policies may have.
                number if number.as_f64().is_some_and(|number| number > 1e9) => json!(2),
                other => other,
            },
        }
    }

    fn policy(&mut self, depth: usize) -> Value {
        let mut policy = Map::new();
        for _ in 0..=self.below(3) {
            let rule = match self.below(4) {
                0 if depth > 0 => self.policy(depth - 1),
                _ => (0..=self.below(2)).map(|_| self.condition()).collect(),
            };
            policy.insert(self.pick(&["p", "q", "r", "$or"]).to_owned(), rule);
        }
        if self.below(4) == 0 {
            policy.insert(
                "$or".to_owned(),
                (0..=1 + self.below(2)).map(|_| self.policy(depth.saturating_sub(1))).collect(),
            );
        }
        policy.into()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(6) {
            0 if depth > 0 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            1 | 2 if depth > 0 => self.object(depth - 1),
            _ => self.scalar(),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let names = ["p", "q", "r", "$or", "s"];
        let members = (0..self.below(5)).map(|_| (self.pick(&names).to_owned(), self.value(depth)));
        Value::Object(members.collect())
    }
}

fn seed() -> u64 {
    match std::env::var("SNS_TEST_SEED") {
        Ok(text) => text.parse().expect("the seed is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_micros() as u64 | 1,
    }
}

#[test]
fn random_policies_decide_as_the_reference_does() {
    let seed = seed();
    let random = &mut Random(seed);
    let (mut compiled, mut wanted) = (0, 0);
    for _ in 0..20_000 {
        let policy = random.policy(3);
        let Ok(filter) = Filter::parse(&policy.to_string(), Scope::MessageBody) else { continue };
        for _ in 0..3 {
            let body = random.object(3);
            let expected = reference::wants(&policy, &body);
            let text = body.to_string();
            let decided = filter.matches(&Message::new(Vec::new(), &text));
            assert_eq!(decided, expected, "SNS_TEST_SEED={seed} {policy} {body}");
            compiled += 1;
            wanted += usize::from(expected);
        }
    }
    assert!(compiled > 20_000 && wanted > compiled / 50 && wanted < compiled, "{compiled} {wanted}");
}

#[test]
fn random_attributes_decide_as_the_reference_does() {
    let seed = seed();
    let random = &mut Random(seed);
    let mut wanted = 0;
    for _ in 0..20_000 {
        let policy = random.policy(0);
        let Ok(filter) = Filter::parse(&policy.to_string(), Scope::MessageAttributes) else { continue };
        let mut body = Map::new();
        let mut texts = Vec::new();
        for name in ["p", "q", "r", "$or"] {
            let value: Value = match random.below(3) {
                0 => continue,
                1 => (0..=random.below(3)).map(|_| random.scalar()).collect(),
                _ => random.scalar(),
            };
            let (kind, text) = match &value {
                Value::Array(_) => ("String.Array", value.to_string()),
                Value::Number(number) => ("Number", number.to_string()),
                Value::String(text) => ("String", text.clone()),
                _ => continue,
            };
            texts.push((name, kind, text));
            body.insert(name.to_owned(), value);
        }
        let attributes = texts.iter().map(|(name, kind, text)| Attribute::new(name, kind, text)).collect();
        let expected = reference::wants(&policy, &Value::Object(body));
        let decided = filter.matches(&Message::new(attributes, ""));
        assert_eq!(decided, expected, "SNS_TEST_SEED={seed} {policy} {texts:?}");
        wanted += usize::from(expected);
    }
    assert!(wanted > 500, "{wanted}");
}
