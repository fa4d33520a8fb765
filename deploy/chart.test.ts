import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { parse, parseAllDocuments } from 'yaml';
import { type Config, settingsOf, type SettingName, Settings } from '../services/runtime/config.ts';
import { optionalTool } from '../test/testing/optional-tool.ts';
import { defaultCacheDir } from '../towers/cache.ts';
import { pathOf, read, rules } from './testing/telemetry-files.ts';

interface Container {
  name: string;
  image: string;
  ports: { name: string; containerPort: number }[];
  volumeMounts: { mountPath: string }[];
  resources: { limits: Record<string, string | number> };
  livenessProbe: { httpGet: { port: string; path: string } };
  env: { name: string; value?: string; valueFrom?: { fieldRef?: object } }[];
}
/** A network policy, as far as the tests look at it. */
interface Rule {
  from?: object[];
  to?: object[];
  ports: { port: number }[];
}
interface Resource {
  kind: string;
  metadata: { name: string };
  data?: Record<string, string>;
  spec?: {
    replicas?: number;
    groups?: unknown[];
    strategy?: { rollingUpdate: object };
    minAvailable?: number;
    maxUnavailable?: number;
    policyTypes?: string[];
    podSelector?: object;
    selector?: object;
    ingress?: Rule[];
    egress?: Rule[];
    triggers?: { metadata: { query?: string } }[];
    template?: { spec: { terminationGracePeriodSeconds: number; containers: [Container] } };
  };
}

const CHART = pathOf('deploy/chart');
const SCHEMAS = join(defaultCacheDir(), 'kubernetes-tools', 'schemas');

/** A helm that Go built assumes an old Kubernetes. */
const VERSION = ['--kube-version', '1.34.1'];

const helm = optionalTool('helm');
const kubeconform = optionalTool('kubeconform');
const skip = helm.skip || kubeconform.skip || (!existsSync(SCHEMAS) && 'there are no schemas of Kubernetes');
const run = promisify(execFile);

const LAME_DUCK_MS = 45_000;

/** Each way to render it that takes another branch of a template. */
const VARIANTS = {
  'as it is': [],
  'with everything': [
    ...set('images.pullSecrets[0]=registry', 'store.apiKeySecret.name=qdrant', 'store.caConfigMap.name=ca'),
    ...set('telemetry.otlpEndpoint=http://collector:4317', 'serviceMonitor.enabled=true'),
    ...set('prometheusRule.enabled=true', 'prometheusRule.labels.release=prometheus'),
    ...set(
      'document.gpu.count=1',
      'document.cache.accessMode=ReadWriteMany',
      'document.autoscaling.kind=keda',
    ),
    ...set(
      'query.autoscaling.kind=keda',
      'document.nodeSelector.pool=gpu',
      'settings.slowMs=250',
      `lameDuckMs=${LAME_DUCK_MS}`,
    ),
    ...set('document.tolerations[0].key=nvidia.com/gpu', 'document.tolerations[0].operator=Exists'),
    ...set('access.keysSecret.name=keys', 'access.tlsSecret=tls', 'access.metricsKeySecret.name=metrics'),
    ...set('access.quotasConfigMap.name=quotas', 'settings.jwtIssuer[0]=https://issuer.example'),
    ...set('settings.jwtAudience[0]=search', 'settings.jwtJwks[0]=https://issuer.example/jwks'),
    ...set('console.enabled=true', 'console.hosts[0]=console.example.com', 'console.tlsSecret=console-tls'),
    ...set('console.caConfigMap.name=services-ca', 'console.oidc.issuer=https://issuer.example'),
    ...set('console.oidc.clientId=console', 'console.oidc.clientSecret.name=console-oidc'),
    ...set('console.callers[0].namespaceSelector.matchLabels.name=ingress'),
    ...set(`images.query.digest=sha256:${'0'.repeat(64)}`, 'document.settings.ingestTokens=16777216'),
  ],
  'with a console for anybody who reaches it': [
    ...set('console.enabled=true', 'console.hosts[0]=console.example.com'),
  ],
  'with as little as possible': [
    ...set('query.autoscaling.kind=none', 'networkPolicy.enabled=false', 'networkPolicy.fetchTowers=false'),
  ],
} as const;

function set(...values: string[]): string[] {
  return values.flatMap((value) => ['--set', value]);
}

async function render(flags: readonly string[]): Promise<string> {
  const { stdout } = await run(
    helm.path!,
    ['template', 'mine', CHART, '--namespace', 'search', ...VERSION, ...flags],
    { maxBuffer: 16 << 20 },
  );
  return stdout;
}

const resourcesOf = (rendered: string): Resource[] =>
  parseAllDocuments(rendered)
    .map((document) => document.toJSON() as Resource | null)
    .filter((resource) => resource !== null);

const find = (resources: readonly Resource[], kind: string, name: string): Resource => {
  const found = resources.find((one) => one.kind === kind && one.metadata.name === name);
  assert.ok(found, `there is a ${kind} "${name}"`);
  return found;
};

describe('the chart', { skip }, () => {
  test('has no fault that helm lint finds', async () => {
    await run(helm.path!, ['lint', '--strict', CHART, ...VERSION]);
  });

  for (const [name, flags] of Object.entries(VARIANTS)) {
    test(`is what Kubernetes takes: ${name}`, async () => {
      const rendered = await render(flags);
      const child = run(kubeconform.path!, [
        '-strict',
        '-summary',
        '-output=json',
        `-schema-location=${SCHEMAS}/{{ .ResourceKind }}{{ .KindSuffix }}.json`,
        '-',
      ]);
      child.child.stdin!.end(rendered);
      const { stdout } = await child.catch((error: { stdout: string }) => error);
      const { resources = [], summary } = JSON.parse(stdout) as {
        resources?: { msg: string }[];
        summary: Record<string, number>;
      };
      assert.deepEqual(resources, []);
      assert.equal(summary['invalid']! + summary['errors']! + summary['skipped']!, 0);
      assert.ok(summary['valid']! > 5);
    });
  }

  describe('rendered', () => {
    let bare: Resource[];
    let full: Resource[];
    before(async () => {
      bare = resourcesOf(await render(VARIANTS['as it is']));
      full = resourcesOf(await render(VARIANTS['with everything']));
    });

    for (const service of ['document', 'query'] as const) {
      test(`gives the ${service} service settings that it takes`, () => {
        for (const resources of [bare, full]) {
          const { data } = find(resources, 'ConfigMap', `mine-scalingnote-${service}`);
          const settings = JSON.parse(data!['settings.json']!) as Record<string, unknown>;
          const known = Object.keys(settings);
          const unknown = known.filter((name) => !Object.hasOwn(Settings.shape, name));
          assert.deepEqual(unknown, []);
          assert.deepEqual(settingsOf(known as SettingName[]).parse(settings), settings);
        }
      });

      test(`lets the ${service} service finish its calls`, () => {
        const { template } = find(bare, 'Deployment', `mine-scalingnote-${service}`).spec!;
        const { data } = find(bare, 'ConfigMap', `mine-scalingnote-${service}`);
        const { drainMs } = JSON.parse(data!['settings.json']!) as { drainMs: number };
        assert.ok(template!.spec.terminationGracePeriodSeconds * 1000 > drainMs);
        const waits = find(full, 'Deployment', `mine-scalingnote-${service}`).spec!.template!.spec;
        assert.ok(waits.terminationGracePeriodSeconds * 1000 > drainMs + LAME_DUCK_MS);
      });

      test(`asks the thread of the ${service} service whether it lives`, () => {
        const { template } = find(bare, 'Deployment', `mine-scalingnote-${service}`).spec!;
        const { data } = find(bare, 'ConfigMap', `mine-scalingnote-${service}`);
        const settings = JSON.parse(data!['settings.json']!) as Record<string, unknown>;
        const [container] = template!.spec.containers;
        assert.deepEqual(container.livenessProbe.httpGet, { port: 'liveness', path: '/livez' });
        const { containerPort } = container.ports.find(({ name }) => name === 'liveness')!;
        const name = service === 'document' ? 'livenessPortDocument' : 'livenessPortQuery';
        assert.equal(settings[name], containerPort);
        assert.equal(settings['livenessHost'], '0.0.0.0');
      });
    }

    test('asks for cards, and names images by their digest, where the values do', () => {
      const container = (service: string): Container =>
        find(full, 'Deployment', `mine-scalingnote-${service}`).spec!.template!.spec.containers[0];
      assert.equal(container('document').resources.limits['nvidia.com/gpu'], 1);
      assert.equal(container('query').image, `scalingnote-query@sha256:${'0'.repeat(64)}`);
    });

    test('has every alert, and scales by series that are there', () => {
      const { spec } = find(full, 'PrometheusRule', 'mine-scalingnote');
      assert.deepEqual(
        spec!.groups,
        (parse(read('deploy/telemetry/alerts.yaml')) as { groups: unknown[] }).groups,
      );
      assert.ok(rules.length > 0);
      const queries = full
        .flatMap(({ spec }) => spec?.triggers ?? [])
        .flatMap(({ metadata }) => metadata.query ?? []);
      const series = queries.map((query) => /scalingnote_\w+/.exec(query)![0]);
      assert.deepEqual(series, [
        'scalingnote_ingest_tokens_in_flight',
        'scalingnote_queue_wait_seconds_bucket',
      ]);
    });

    test('asks for keys and TLS where it has them, and says that it does not where it has none', () => {
      const [open, closed] = [bare, full].map(
        (resources) =>
          JSON.parse(
            find(resources, 'ConfigMap', 'mine-scalingnote-query').data!['settings.json']!,
          ) as Config,
      );
      assert.deepEqual([open!.anonymous, open!.plaintext, open!.keys], [true, true, undefined]);
      assert.deepEqual([closed!.anonymous, closed!.plaintext], [undefined, undefined]);
      const { volumeMounts } = find(full, 'Deployment', 'mine-scalingnote-query').spec!.template!.spec
        .containers[0];
      const files = [closed!.keys!, ...closed!.tlsCert, ...closed!.tlsKey, closed!.tenantQuotas!];
      for (const file of files) {
        assert.ok(
          volumeMounts.some(({ mountPath }) => file.startsWith(`${mountPath}/`)),
          file,
        );
      }
    });

    test('asks for tokens where the settings name an issuer', async () => {
      const issuer = 'https://issuer.example';
      const settings = [`settings.jwtIssuer=${issuer}`, 'settings.jwtAudience=search'];
      const resources = resourcesOf(await render(set(...settings, `settings.jwtJwks=${issuer}/jwks`)));
      const text = find(resources, 'ConfigMap', 'mine-scalingnote-query').data!['settings.json']!;
      const { anonymous, jwtIssuer } = JSON.parse(text) as Config;
      assert.deepEqual([anonymous, jwtIssuer], [undefined, issuer]);
    });

    test('lets a drain of a node move every pod, and leaves those that have to be there', () => {
      const budget = (resources: Resource[], service: string): (number | undefined)[] => {
        const { spec } = find(resources, 'PodDisruptionBudget', `mine-scalingnote-${service}`);
        return [spec!.minAvailable, spec!.maxUnavailable];
      };
      assert.deepEqual(budget(bare, 'query'), [1, undefined]);
      // One pod, of which one has to be there: a budget of that kind holds up a drain for ever.
      assert.deepEqual(budget(bare, 'document'), [undefined, 1]);
    });

    test('shuts the network off but for callers, scrapers, names, Qdrant and sources of towers', () => {
      for (const service of ['document', 'query']) {
        const { spec } = find(bare, 'NetworkPolicy', `mine-scalingnote-${service}`);
        const pods = find(bare, 'Deployment', `mine-scalingnote-${service}`).spec!.selector as {
          matchLabels: object;
        };
        assert.deepEqual(spec!.policyTypes, ['Ingress', 'Egress']);
        assert.deepEqual(spec!.podSelector, pods);
        const ports = (rules: Rule[]): number[][] => rules.map((rule) => rule.ports.map(({ port }) => port));
        const [grpc, metrics] = service === 'document' ? [7401, 7411] : [7402, 7412];
        assert.deepEqual(ports(spec!.ingress!), [[grpc], [metrics]]);
        for (const { from } of spec!.ingress!) assert.ok(from!.length > 0, 'somebody, not anybody');
        assert.deepEqual(ports(spec!.egress!), [[53, 53], [6333, 6334], [443]]);
        const closed = find(full, 'NetworkPolicy', `mine-scalingnote-${service}`).spec!;
        assert.deepEqual(ports(closed.egress!), [[53, 53], [6333, 6334], [4317], [443]]);
      }
    });

    test('puts no secret into the environment of a process', () => {
      for (const { kind, spec } of full) {
        if (kind !== 'Deployment') continue;
        for (const { name, value, valueFrom } of spec!.template!.spec.containers[0].env) {
          assert.ok(value !== undefined || valueFrom?.fieldRef !== undefined, `${name} comes from no secret`);
        }
      }
    });

    describe('the console', () => {
      const settingsIn = (resources: Resource[]): Record<string, unknown> =>
        JSON.parse(
          find(resources, 'ConfigMap', 'mine-scalingnote-console').data!['settings.json']!,
        ) as Record<string, unknown>;

      test('is there where it is asked for, with settings that it takes', async () => {
        assert.ok(!bare.some(({ metadata }) => metadata.name === 'mine-scalingnote-console'));
        const open = resourcesOf(await render(VARIANTS['with a console for anybody who reaches it']));
        for (const resources of [open, full]) {
          const settings = settingsIn(resources);
          const names = Object.keys(settings) as SettingName[];
          assert.deepEqual(settingsOf(names).parse(settings), settings);
          assert.equal(settings['documentAddress'], 'mine-scalingnote-document:7401');
          assert.equal(settings['queryMetrics'], 'mine-scalingnote-query:7412');
        }
        assert.deepEqual([settingsIn(open)['anonymous'], settingsIn(open)['plaintext']], [true, true]);
        const closed = settingsIn(full);
        assert.deepEqual([closed['anonymous'], closed['plaintext']], [undefined, undefined]);
        assert.equal(closed['oidcIssuer'], 'https://issuer.example');
        const { volumeMounts } = find(full, 'Deployment', 'mine-scalingnote-console').spec!.template!.spec
          .containers[0];
        const files = [
          closed['tlsCert'],
          closed['tlsKey'],
          closed['oidcClientSecretFile'],
        ].flat() as string[];
        assert.deepEqual(
          files.filter((file) => !volumeMounts.some(({ mountPath }) => file.startsWith(`${mountPath}/`))),
          [],
        );
      });

      test('reaches the services, and is reached by those who are named', () => {
        const { spec } = find(full, 'NetworkPolicy', 'mine-scalingnote-console');
        assert.deepEqual(
          spec!.ingress!.map(({ ports }) => ports.map(({ port }) => port)),
          [[7400]],
        );
        assert.deepEqual(
          spec!.egress!.map(({ ports }) => ports.map(({ port }) => port)),
          [[53, 53], [7401, 7411], [7402, 7412], [443]],
        );
        const labels = {
          'app.kubernetes.io/name': 'scalingnote',
          'app.kubernetes.io/instance': 'mine',
          'app.kubernetes.io/component': 'console',
        };
        for (const service of ['document', 'query']) {
          const [, metrics] = find(full, 'NetworkPolicy', `mine-scalingnote-${service}`).spec!.ingress!;
          assert.deepEqual(metrics!.from!.at(-1), { podSelector: { matchLabels: labels } });
        }
      });
    });

    test('says how many CPUs the document tower may have, which its threads follow', () => {
      const { resources } = find(bare, 'Deployment', 'mine-scalingnote-document').spec!.template!.spec
        .containers[0];
      assert.equal(resources.limits['cpu'], '2');
    });

    test('leaves the number of pods to what scales them', () => {
      assert.equal(find(bare, 'Deployment', 'mine-scalingnote-query').spec!.replicas, undefined);
      assert.equal(find(bare, 'Deployment', 'mine-scalingnote-document').spec!.replicas, 1);
    });
  });

  const REFUSED = {
    'a value that there is not': ['query.replica=3', /additional properties 'replica' not allowed/],
    'a number that is none': ['drainMs=soon', /drainMs/],
    'a digest that is none': ['images.query.digest=latest', /images.query.digest|images\/query\/digest/],
    'metrics that nobody may read': [
      'access.keysSecret.name=keys,serviceMonitor.enabled=true',
      /access.metricsKeySecret.name/,
    ],
    'a setting that the chart sets': [
      'settings.qdrantUrl=http://elsewhere:6333',
      /settings.qdrantUrl is set by the chart/,
    ],
    'a console without a name': ['console.enabled=true', /console.hosts/],
    'a console that trusts no service': [
      'console.enabled=true,console.hosts[0]=a.example,access.tlsSecret=tls',
      /console.caConfigMap.name/,
    ],
    'a console that sends keys in plain text': [
      'console.enabled=true,console.hosts[0]=a.example,access.keysSecret.name=keys',
      /access.tlsSecret/,
    ],
    'a login whose tokens no service takes': [
      'console.enabled=true,console.hosts[0]=a.example,console.oidc.issuer=https://i.example',
      /settings.jwtIssuer/,
    ],
    'fewer pods at most than at least': [
      'query.autoscaling.maxReplicas=1',
      /maxReplicas is below minReplicas/,
    ],
    'several pods on a volume for one': [
      'document.autoscaling.kind=hpa',
      /document.cache.accessMode ReadWriteMany/,
    ],
  } as const satisfies Record<string, readonly [string, RegExp]>;
  for (const [what, [value, message]] of Object.entries(REFUSED)) {
    test(`refuses ${what}`, async () => {
      await assert.rejects(render(set(value)), message);
    });
  }
});
