import { NodeSDK } from '@opentelemetry/sdk-node';

// For `node --import`: OpenTelemetry's own SDK, set up by `OTEL_*` alone, as its users start it.
new NodeSDK().start();
