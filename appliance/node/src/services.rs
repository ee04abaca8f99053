//! The services that this binary has, made from the configuration.

use plan::Service;

use crate::config::Config;

/// Objects.
pub fn s3(config: &Config) -> Box<dyn Service> {
    unbuilt::service(config)
}

/// Stands where a service of this workspace is not ready to be linked; it answers 501 to everything.
mod unbuilt {
    use http_types::StatusCode;
    use plan::{Context, Plan, Reply, Request, Service};

    use crate::config::Config;

    struct Unbuilt;

    pub fn service(_config: &Config) -> Box<dyn Service> {
        Box::new(Unbuilt)
    }

    impl Service for Unbuilt {
        fn start(&self, _cx: &mut Context<'_>, request: Request) -> Plan {
            let error = aws::ErrorReply::new("NotImplemented", 501, "The service is not part of this build.");
            Plan::Reply(self.refuse(&request, error))
        }

        fn refuse(&self, request: &Request, error: aws::ErrorReply) -> Reply {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Reply::bytes(status, "application/xml", error.to_xml(None, &request.request_id, &request.host_id))
        }
    }
}
