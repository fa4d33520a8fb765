import { load, type LoadPlan } from './load.ts';

// A process of its own, so that its work is not the server's: see generator.ts.
process.once('message', (plan: LoadPlan) => {
  load({ ...plan, bodies: plan.bodies.map((body) => Buffer.from(body)) }).then(
    (report) => process.send?.({ report }, () => process.disconnect()),
    (error: unknown) => process.send?.({ failure: String(error) }, () => process.disconnect()),
  );
});
process.once('disconnect', () => process.exit());
