//! What a service of a provider can do, told before it is asked to.
//!
//! Invariant: whatever fails with [`UNSUPPORTED`](crate::common::UNSUPPORTED) when it is called is a "no" here, and whatever
//! behaves otherwise than the trait says is a "difference" with one line that tells how.

use crate::common::Failure;
use std::borrow::Cow;
use std::fmt;

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Support {
    /// As the trait says.
    Yes,
    /// It fails with [`UNSUPPORTED`](crate::common::UNSUPPORTED).
    No,
    /// It works, otherwise than the trait says; the note tells how.
    Difference,
}

/// One thing that a service does or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// The method's name, or a word for something that is no method of its own, such as `put_if_absent`.
    pub name: Cow<'static, str>,
    /// Whether it is there.
    pub support: Support,
    /// One line that says how it differs, why it is missing, or how it is done; may be empty for a "yes".
    pub note: Cow<'static, str>,
}

/// What one service of one provider can do, in the order of the trait's methods. Displays as a table of text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The provider in lower case; the name of the type where the provider does not tell.
    pub provider: Cow<'static, str>,
    /// The service.
    pub service: Service,
    entries: Vec<Capability>,
}

impl Capabilities {
    /// What a type that overrides no new method can do: all that the trait demands, and of the new methods those that follow
    /// from it.
    pub fn defaults(provider: impl Into<Cow<'static, str>>, service: Service) -> Self {
        let entry = |(name, support, note): &(&'static str, Support, &'static str)| Capability {
            name: Cow::Borrowed(name),
            support: *support,
            note: Cow::Borrowed(note),
        };
        Self { provider: provider.into(), service, entries: service.rows().iter().map(entry).collect() }
    }

    /// The answer of a service that is not there: every capability is a "no" for this reason.
    pub fn nothing(
        provider: impl Into<Cow<'static, str>>,
        service: Service,
        why: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut nothing = Self::defaults(provider, service);
        let why = why.into();
        for entry in &mut nothing.entries {
            entry.support = Support::No;
            entry.note = why.clone();
        }
        nothing
    }

    /// Says that something is there as the trait describes it.
    pub fn yes(self, name: impl Into<Cow<'static, str>>, note: impl Into<Cow<'static, str>>) -> Self {
        self.set(name.into(), Support::Yes, note.into())
    }

    /// Says that something is missing, and why.
    pub fn no(self, name: impl Into<Cow<'static, str>>, note: impl Into<Cow<'static, str>>) -> Self {
        self.set(name.into(), Support::No, note.into())
    }

    /// Says that something is there, and how it differs.
    pub fn differs(self, name: impl Into<Cow<'static, str>>, note: impl Into<Cow<'static, str>>) -> Self {
        self.set(name.into(), Support::Difference, note.into())
    }

    fn set(mut self, name: Cow<'static, str>, support: Support, note: Cow<'static, str>) -> Self {
        match self.entries.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => (entry.support, entry.note) = (support, note),
            None => self.entries.push(Capability { name, support, note }),
        }
        self
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Capability> {
        self.entries.iter()
    }

    /// The one of this name; `None` for a name that nobody mentioned.
    pub fn get(&self, name: &str) -> Option<&Capability> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Whether something is there, be it with a difference. What nobody mentioned is not.
    pub fn supports(&self, name: &str) -> bool {
        self.get(name).is_some_and(|entry| entry.support != Support::No)
    }

    /// The failure of something that is not there, with its note as the reason.
    pub fn unsupported(&self, name: &str) -> Failure {
        let why = self.get(name).map_or("", |entry| &*entry.note);
        Failure::unsupported(self.provider.clone(), format!("{}::{name}", self.service.name()), why)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.provider, self.service.name())?;
        for Capability { name, support, note } in &self.entries {
            let word = match support {
                Support::Yes => "yes",
                Support::No => "no",
                Support::Difference => "differs",
            };
            writeln!(f, "  {:<30} {word:<8} {note}", &**name)?;
        }
        Ok(())
    }
}

type Row = (&'static str, Support, &'static str);

/// The services, one enum value and one list of capabilities each.
macro_rules! services {
    ($($service:ident $doc:literal { $($support:ident { $($name:literal $note:literal,)* })* })*) => {
        /// A service, named as its trait.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Service {
            $(#[doc = $doc] $service,)*
        }

        impl Service {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$service,)*];

            /// The name of its trait.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$service => stringify!($service),)*
                }
            }

            fn rows(self) -> &'static [Row] {
                match self {
                    $(Self::$service => &[$($(($name, Support::$support, $note),)*)*],)*
                }
            }
        }
    };
}

services! {
    ObjectStorage "Buckets and objects." {
        Yes {
            "list_buckets" "", "create_bucket" "", "delete_bucket" "", "bucket_exists" "", "put_object" "",
            "put_object_with_options" "", "get_object" "", "get_object_with_options" "", "head_object" "",
            "delete_object" "", "delete_objects" "", "copy_object" "", "object_exists" "", "list_objects" "",
            "presigned_get_url" "", "presigned_put_url" "", "list_stream" "by list_objects, page by page",
            "list_level" "by list_objects, which reads all keys below",
        }
        Difference {
            "put_stream" "collected in memory up to 64 MiB, then one put_object_with_options",
            "get_stream" "one head_object, then one get_object_with_options that reads the range whole",
        }
        No {
            "put_if_absent" "the trait's old methods have no condition",
            "put_if_match" "the trait's old methods have no condition",
            "stream_headers" "the trait's old methods tell neither Cache-Control nor Content-Encoding",
            "put_tags" "the trait's old methods have no tags",
            "get_version" "the trait's old methods have no versions",
            "list_versions" "the trait's old methods have no versions",
            "delete_version" "the trait's old methods have no versions",
            "set_versioning" "the trait's old methods have no versions",
            "get_tags" "the trait's old methods have no tags",
            "set_tags" "the trait's old methods have no tags",
            "delete_tags" "the trait's old methods have no tags",
        }
    }
    KeyValueStore "Tables and items." {
        Yes {
            "get" "", "get_with_options" "", "put" "", "put_with_options" "", "delete" "",
            "delete_with_condition" "", "exists" "", "update" "", "query" "", "batch_get" "", "batch_write" "",
        }
        No {
            "create_table" "the trait's old methods make no tables",
            "delete_table" "the trait's old methods delete no tables",
            "transact" "the trait's old methods change one item at a time, or several without a condition",
            "scan_stream" "the trait's old methods read by key only",
            "increment" "the trait's old methods cannot read and write in one step",
        }
    }
    MessageQueue "Queues and messages." {
        Yes {
            "create_queue" "", "delete_queue" "", "get_queue_url" "", "list_queues" "", "send" "",
            "send_with_options" "", "send_batch" "", "receive" "", "delete" "", "delete_batch" "",
            "change_visibility" "", "get_queue_depth" "", "purge" "",
            "receive_stream" "by receive, change_visibility and delete",
        }
    }
    PubSub "Topics, subscriptions and what is published." {
        Yes {
            "create_topic" "", "delete_topic" "", "list_topics" "", "get_topic_arn" "", "subscribe" "",
            "subscribe_with_config" "", "unsubscribe" "", "list_subscriptions" "", "publish" "",
            "publish_with_attributes" "", "publish_batch" "", "publish_json" "",
        }
    }
    Functions "Functions that the provider runs." {
        Yes {
            "invoke" "", "invoke_with_options" "", "invoke_json" "", "invoke_async" "", "list_functions" "",
            "function_exists" "",
        }
        No {
            "create_function" "the trait's old methods make no functions",
            "delete_function" "the trait's old methods delete no functions",
        }
    }
    IdentityProvider "Users, groups and sign-in." {
        Yes {
            "create_user" "", "get_user" "", "update_user" "", "delete_user" "", "enable_user" "",
            "disable_user" "", "list_users" "", "search_users" "", "initiate_auth" "",
            "respond_to_challenge" "", "refresh_tokens" "", "sign_out" "", "forgot_password" "",
            "confirm_forgot_password" "", "change_password" "", "create_group" "", "delete_group" "",
            "list_groups" "", "add_user_to_group" "", "remove_user_from_group" "", "list_user_groups" "",
            "list_users_in_group" "",
        }
    }
    Networking "Networks, subnets and security groups." {
        Yes {
            "create_vpc" "", "describe_vpcs" "", "delete_vpc" "", "create_subnet" "", "describe_subnets" "",
            "delete_subnet" "", "create_security_group" "", "describe_security_groups" "",
            "delete_security_group" "",
        }
    }
    SecretsManager "Secrets and their versions." {
        Yes {
            "create_secret" "", "get_secret" "", "get_secret_version" "", "update_secret" "",
            "delete_secret" "", "restore_secret" "", "list_secrets" "", "describe_secret" "",
            "list_secret_versions" "", "rotate_secret" "", "tag_secret" "", "untag_secret" "",
        }
    }
    EventBus "Events and the rules that route them." {
        Yes {
            "put_events" "", "create_event_bus" "", "delete_event_bus" "", "list_event_buses" "",
            "put_rule" "", "delete_rule" "", "enable_rule" "", "disable_rule" "", "list_rules" "",
            "put_targets" "", "remove_targets" "", "list_targets" "",
        }
    }
    WorkflowService "Workflows and their executions." {
        Yes {
            "create_workflow" "", "update_workflow" "", "delete_workflow" "", "describe_workflow" "",
            "list_workflows" "", "start_execution" "", "stop_execution" "", "describe_execution" "",
            "list_executions" "", "get_execution_history" "", "send_task_success" "",
            "send_task_failure" "", "send_task_heartbeat" "",
        }
    }
    KeyManagement "Keys and what is done with them." {
        Yes {
            "create_key" "", "describe_key" "", "list_keys" "", "enable_key" "", "disable_key" "",
            "schedule_key_deletion" "", "cancel_key_deletion" "", "update_key_description" "", "encrypt" "",
            "decrypt" "", "re_encrypt" "", "generate_data_key" "", "generate_data_key_without_plaintext" "",
            "sign" "", "verify" "", "tag_key" "", "untag_key" "", "list_key_tags" "",
        }
    }
    MetricsService "Figures over time, and alarms." {
        Yes {
            "put_metric_data" "", "get_metric_data" "", "list_metrics" "", "put_alarm" "", "delete_alarm" "",
            "get_alarm_state" "",
        }
    }
    LoggingService "Log groups, streams and events." {
        Yes {
            "create_log_group" "", "delete_log_group" "", "create_log_stream" "", "put_log_events" "",
            "query_logs" "", "list_log_groups" "", "list_log_streams" "",
        }
    }
    Compute "Virtual machines." {
        Yes {
            "run_instances" "", "describe_instances" "", "terminate_instances" "", "start_instances" "",
            "stop_instances" "", "create_key_pair" "", "delete_key_pair" "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::CloudError;
    use std::collections::HashSet;

    #[test]
    fn every_service_names_each_capability_once_and_explains_what_is_not_plain() {
        for service in Service::ALL {
            let all = Capabilities::defaults("p", *service);
            let names: HashSet<&str> = all.iter().map(|one| &*one.name).collect();
            assert_eq!(names.len(), all.iter().count(), "{service:?}");
            assert!(all.iter().all(|one| one.support == Support::Yes || !one.note.is_empty()), "{all}");
            assert!(all.iter().all(|one| !one.note.contains('\n')), "{all}");
        }
    }

    #[test]
    fn a_provider_changes_what_it_does_otherwise() {
        let all = Capabilities::defaults("zero", Service::ObjectStorage)
            .yes("set_tags", "")
            .differs("presigned_put_url", "at most 7 days")
            .no("copy_object", "later")
            .yes("multipart", "by itself above 16 MiB");
        assert!(all.supports("set_tags") && all.supports("multipart") && all.supports("presigned_put_url"));
        assert!(!all.supports("copy_object") && !all.supports("get_tags") && !all.supports("no such thing"));
        assert_eq!(all.get("presigned_put_url").unwrap().support, Support::Difference);
        let count = Capabilities::defaults("zero", Service::ObjectStorage).iter().count();
        assert_eq!(all.iter().count(), count + 1);
        assert!(all.to_string().contains("copy_object                    no       later"), "{all}");
    }

    #[test]
    fn a_service_that_is_not_there_says_so_of_everything() {
        let none = Capabilities::nothing("zero", Service::Networking, "not yet");
        assert!(none.iter().all(|one| one.support == Support::No && one.note == "not yet"));
        let failure = none.unsupported("create_vpc");
        assert_eq!(failure.detail.message, "zero does not support Networking::create_vpc: not yet");
        assert!(CloudError::from(failure).is_unsupported());
    }
}
