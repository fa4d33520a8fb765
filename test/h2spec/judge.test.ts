import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { failuresIn, judge, knownFailing } from './judge.ts';

const REPORT = `<testsuites><testsuite name="5.1" package="http2/5.1">
<testcase package="http2/5.1" classname="one" time="0.1"></testcase>
<testcase package="http2/5.1" classname="two" time="2.0">
  <error>GOAWAY Frame
Timeout</error>
</testcase></testsuite>
<testsuite name="6.7" package="http2/6.7">
<testcase package="http2/6.7" classname="three" time="0.1"><skipped></skipped></testcase></testsuite></testsuites>`;

test('reads which cases of a report did not pass, and refuses a report without cases', () => {
  assert.deepEqual(failuresIn(REPORT), { cases: 3, notPassed: ['http2/5.1/2', 'http2/6.7/1'] });
  assert.throws(() => failuresIn('<testsuites></testsuites>'), /no case/);
});

test('more failures and fewer both fail the run', () => {
  const known = knownFailing('# why\nhttp2/5.1/2 h2c,tls,node\n\nhttp2/6.9/1 node\n');
  const node = { target: 'node' as const, cases: 3, notPassed: ['http2/5.1/2', 'http2/6.9/1', 'http2/9/9'] };
  const both = (notPassed: string[]) =>
    judge(
      [{ target: 'h2c', cases: 3, notPassed }, { target: 'tls', cases: 3, notPassed: ['http2/5.1/2'] }, node],
      known,
    ).complaints;
  assert.deepEqual(both(['http2/5.1/2']), []);
  assert.match(both(['http2/5.1/2', 'http2/6.9/1']).join(), /^h2c: http2\/6.9\/1 does not pass/);
  assert.match(both([]).join(), /^h2c: http2\/5.1\/2 passes now/);
});

test("a case that is called node's own and passes there fails the run", () => {
  const known = knownFailing('http2/5.1/2 h2c,node');
  const outcomes = [
    { target: 'h2c' as const, cases: 3, notPassed: ['http2/5.1/2'] },
    { target: 'node' as const, cases: 3, notPassed: [] },
  ];
  assert.match(judge(outcomes, known).complaints.join(), /^node: http2\/5.1\/2 passes now/);
});

test('the list can be read; a line that names nobody cannot', () => {
  const file = new URL('../../../test/h2spec/known-failing.txt', import.meta.url);
  assert.ok(knownFailing(readFileSync(file, 'utf8')).length > 0);
  assert.throws(() => knownFailing('http2/5.1/2'), /can't read "http2\/5.1\/2"/);
  assert.throws(() => knownFailing('http2/5.1/2 h3'), /can't read/);
});
