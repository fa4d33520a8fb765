import type { Condition as WireCondition } from '../../proto/generated/scalingnote/v1/Condition.ts';
import { invalidArgument } from '../errors.ts';
import type { WriteMessage } from './message.ts';
import { text } from './options.ts';
import { type Budget, describe, isPlain, itemsOf, join, readObject } from './read.ts';
import { wireNumber, wireValue } from './values.ts';

/** The tests of a condition, with the message of each. */
const TESTS = {
  equals: 'scalingnote.v1.Equals',
  anyOf: 'scalingnote.v1.AnyOf',
  range: 'scalingnote.v1.Range',
  exists: 'scalingnote.v1.Exists',
  filter: 'scalingnote.v1.Filter',
} as const;

type Test = keyof typeof TESTS;

const CONDITION_NAMES = new Map<string, string>([
  ['field', 'field'],
  ...Object.keys(TESTS).map((name): [string, string] => [name, name]),
  ['any_of', 'anyOf'],
]);

const BOUND_NAMES = new Map(['gt', 'gte', 'lt', 'lte'].map((name) => [name, name]));

/**
 * A condition in short, `{ field, equals: 'x' }`, or as the proto has it, `{ equals: { field, value: 'x' } }`.
 *
 * @param message - writes the messages in it
 */
export function toWireCondition(
  value: unknown,
  path: string,
  budget: Budget,
  message: WriteMessage,
): WireCondition {
  return budget.within(path, () => {
    const given = readObject(value, path, CONDITION_NAMES, 'part of a condition');
    const field = given.get('field');
    given.delete('field');
    const tests = [...given];
    const [first, second] = tests;
    if (first === undefined) {
      throw invalidArgument(path, 'has no test; set one of equals, anyOf, range, exists, filter');
    }
    const [name, [key, test]] = first as [Test, [key: string, value: unknown]];
    if (second !== undefined) {
      const [, [other]] = second;
      throw invalidArgument(
        path,
        `has "${key}" beside "${other}"; a condition makes one test, so write two conditions`,
      );
    }
    const at = join(path, key);
    const isMessage = name === 'filter' || (typeof test === 'object' && test !== null && isPlain(test));
    if (field === undefined && isMessage) return { [name]: message(TESTS[name], test, at, budget) };
    if (name === 'filter') {
      throw invalidArgument(
        join(path, 'field'),
        'is given beside "filter"; the conditions in the filter have fields',
      );
    }
    if (field === undefined) {
      throw invalidArgument(join(path, 'field'), 'is missing; name a field, such as "metadata.colour"');
    }
    return { [name]: { field: text(field[1], join(path, 'field')), ...toWireTest(name, test, at, budget) } };
  });
}

function toWireTest(name: Exclude<Test, 'filter'>, test: unknown, path: string, budget: Budget): object {
  switch (name) {
    case 'equals':
      return { value: comparable(test, `${path}.value`, budget) };
    case 'anyOf':
      return {
        values: itemsOf(test, path).map((value, index) =>
          comparable(value, `${path}.values[${index}]`, budget),
        ),
      };
    case 'range': {
      const bounds = [...readObject(test, path, BOUND_NAMES, 'bound')];
      return Object.fromEntries(
        bounds.map(([bound, [, value]]) => [bound, wireNumber(value, join(path, bound))]),
      );
    }
    case 'exists':
      if (test === true) return {};
      throw invalidArgument(
        path,
        `is ${describe(test)}; give true, and for documents without the field put { field, exists: true } under mustNot`,
      );
  }
}

/** A value to compare with, as the wire has it. */
function comparable(value: unknown, path: string, budget: Budget) {
  const isOne =
    value !== undefined &&
    (typeof value !== 'object' || (value !== null && !Array.isArray(value) && !isPlain(value)));
  if (isOne) return wireValue(value, path, budget);
  throw invalidArgument(
    path,
    `is ${describe(value)}; compare with a string, a number or a boolean, or ask whether the field is there by exists`,
  );
}
