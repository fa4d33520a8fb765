import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../cli/service-processes.ts';
import { optionalTool } from '../test/testing/optional-tool.ts';
import { FOLDER, pathOf, read, rules } from './testing/telemetry-files.ts';

/**
 * A real Prometheus and a real Alertmanager with our configuration, and a receiver in this process: who hears of what.
 * `alerts.test.ts` shows when each alert fires; here each is fired.
 */

interface Notification {
  receiver: string;
  alerts: { status: string; labels: Record<string, string> }[];
}

const manager = optionalTool('alertmanager');
const prometheus = optionalTool('prometheus');
const skip = manager.skip || prometheus.skip;

/** A notification waits for a second, and a busy machine makes it wait longer. */
const PATIENCE_MS = 60_000;

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-alertmanager-'));
const heard: Record<'operators' | 'heartbeat', string[]> = { operators: [], heartbeat: [] };
const children: ChildProcess[] = [];
let receiver: Server | undefined;
let address = '';

before(async () => {
  if (skip !== false) return;
  receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += String(chunk)));
    request.on('end', () => {
      const { alerts } = JSON.parse(body) as Notification;
      heard[request.url!.slice(1) as keyof typeof heard].push(
        ...alerts.map(({ labels }) => labels['alertname']!),
      );
      response.end();
    });
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const { port } = receiver.address() as AddressInfo;
  const [web, metrics] = [await freePort(), await freePort()];
  address = `http://127.0.0.1:${web}`;
  writeFileSync(join(folder, 'alertmanager.yaml'), managerConfig(`http://127.0.0.1:${port}`));
  writeFileSync(join(folder, 'key'), 'key');
  start(manager.path!, [
    `--config.file=${join(folder, 'alertmanager.yaml')}`,
    `--storage.path=${join(folder, 'alertmanager')}`,
    `--web.listen-address=127.0.0.1:${web}`,
    '--cluster.listen-address=',
    '--log.level=error',
  ]);
  await until('Alertmanager is ready', async () => (await fetch(`${address}/-/ready`)).ok);
  writeFileSync(
    join(folder, 'prometheus.yaml'),
    read(`${FOLDER}/prometheus.yaml`)
      .replaceAll('/etc/prometheus', pathOf(FOLDER))
      .replace('/run/secrets/qdrant-api-key', join(folder, 'key'))
      .replaceAll('10s', '1s')
      .replaceAll('alertmanager:9093', `127.0.0.1:${web}`),
  );
  start(prometheus.path!, [
    `--config.file=${join(folder, 'prometheus.yaml')}`,
    `--storage.tsdb.path=${join(folder, 'prometheus')}`,
    `--web.listen-address=127.0.0.1:${metrics}`,
    // It sends the first time before it has found Alertmanager.
    '--rules.alert.resend-delay=1s',
    '--log.level=error',
  ]);
});

after(async () => {
  for (const child of children) {
    if (child.exitCode !== null) continue;
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  receiver?.closeAllConnections();
  receiver?.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('alerts, through Alertmanager', { skip }, () => {
  test('our configuration is one', async () => {
    await promisify(execFile)(manager.path!, ['--version']);
    const { config } = await ask<{ config: { original: string } }>('status');
    assert.match(config.original, /receiver: operators/);
  });

  test('the watchdog of Prometheus reaches the heartbeat, and nobody else', async () => {
    await until('the heartbeat is heard', () => heard.heartbeat.includes('Watchdog'));
    assert.deepEqual([...new Set(heard.heartbeat)], ['Watchdog']);
    assert.ok(!heard.operators.includes('Watchdog'));
  });

  test('operators hear of every page and every ticket, and of nothing else', async () => {
    const alerts = rules.flatMap(({ alert, labels }) =>
      alert === undefined ? [] : [{ labels: { ...labels, alertname: alert, service: `of ${alert}` } }],
    );
    const response = await fetch(`${address}/api/v2/alerts`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(alerts),
    });
    assert.equal(response.status, 200);
    const expected = alerts
      .map(({ labels }) => labels as Record<string, string>)
      .filter(({ severity }) => severity === 'page' || severity === 'ticket')
      .map(({ alertname }) => alertname!);
    await until('all are heard', () => expected.every((name) => heard.operators.includes(name)));
    // What watches itself: Prometheus finds none of the services of the configuration.
    const known = new Set([...expected, 'ServiceIsDown', 'ServiceIsMissing']);
    assert.deepEqual(
      heard.operators.filter((name) => !known.has(name)),
      [],
    );
  });
});

/**
 * Our own configuration, for a test that does not wait for minutes. Alertmanager reads addresses from files since 0.26,
 * which Debian 12 does not have.
 */
function managerConfig(receivers: string): string {
  return read(`${FOLDER}/alertmanager.yaml`)
    .replace('url_file: /run/secrets/alert-webhook', `url: ${receivers}/operators`)
    .replace('url_file: /run/secrets/alert-heartbeat', `url: ${receivers}/heartbeat`)
    .replaceAll(/group_wait: \w+/g, 'group_wait: 1s')
    .replaceAll(/group_interval: \w+/g, 'group_interval: 1s');
}

function start(program: string, flags: string[]): void {
  children.push(spawn(program, flags, { stdio: ['ignore', 'ignore', 'inherit'] }));
}

async function ask<Answer>(path: string): Promise<Answer> {
  return (await (await fetch(`${address}/api/v2/${path}`)).json()) as Answer;
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const began = performance.now();
  for (;;) {
    // It may not listen yet.
    const met = await (async () => holds())().catch((error: unknown) => {
      if (error instanceof TypeError) return false;
      throw error;
    });
    if (met) return;
    if (performance.now() - began > PATIENCE_MS) assert.fail(`not within a minute: ${what}`);
    await sleep(100);
  }
}
