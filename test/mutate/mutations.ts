import { type AnyNode, type Program, parse } from 'acorn';
import { fullAncestor } from 'acorn-walk';

/** One small change of compiled JavaScript that a test should notice. */
export interface Mutation {
  /** What is replaced: offsets into the source, in UTF-16 code units. */
  start: number;
  end: number;
  replacement: string;
  /** The change in words, such as `"<" becomes "<="`. */
  change: string;
  /** Place of the change in the compiled file; lines and columns from 0. */
  line: number;
  column: number;
}

/** Binary and logical operators, and what each becomes. */
const OPERATORS: Readonly<Record<string, string>> = {
  '<': '<=',
  '<=': '<',
  '>': '>=',
  '>=': '>',
  '===': '!==',
  '!==': '===',
  '+': '-',
  '-': '+',
  '*': '/',
  '/': '*',
  '%': '*',
  '&&': '||',
  '||': '&&',
};

/** Methods whose opposites take the same arguments. */
const METHODS: Readonly<Record<string, string>> = {
  min: 'max',
  max: 'min',
  some: 'every',
  every: 'some',
};

/**
 * Every mutation of a compiled file, in the order of the source. Texts, errors' words, imports, tuning constants, and calls
 * of logs and traces stay.
 */
export function mutationsOf(source: string): Mutation[] {
  const program = parse(source, { ecmaVersion: 'latest', sourceType: 'module', locations: true });
  const found: Mutation[] = [];
  const add = (
    node: AnyNode,
    replacement: string,
    change: string,
    from = node.start,
    to = node.end,
  ): void => {
    const { line, column } = node.loc!.start;
    found.push({ start: from, end: to, replacement, change, line: line - 1, column });
  };
  fullAncestor(program, (visited, _state, ancestors) => {
    if (isWords(ancestors.slice(0, -1)) || isTuning(program, ancestors) || isTelling(ancestors)) return;
    mutate(visited, source, add);
  });
  // The walker reports a node again where two of its visitors meet in it.
  const unique = new Map(found.map((each) => [`${each.start} ${each.end} ${each.replacement}`, each]));
  return [...unique.values()].sort((a, b) => a.start - b.start || a.end - b.end);
}

type Add = (node: AnyNode, replacement: string, change: string, from?: number, to?: number) => void;

function mutate(node: AnyNode, source: string, add: Add): void {
  const text = (part: AnyNode): string => source.slice(part.start, part.end);
  switch (node.type) {
    case 'BinaryExpression':
    case 'LogicalExpression': {
      const { operator, left, right } = node;
      if (operator === '??') return add(node, text(left), 'the default after "??" is dropped');
      const other = OPERATORS[operator];
      if (other === undefined || (operator === '+' && [left, right].some(isText))) return;
      return add(node, `${text(left)} ${other} ${text(right)}`, `"${operator}" becomes "${other}"`);
    }
    case 'UnaryExpression':
      return node.operator === '!' ? add(node, text(node.argument), '"!" is dropped') : undefined;
    case 'IfStatement':
      add(node.test, 'true', 'the condition is always true');
      return add(node.test, 'false', 'the condition is never true');
    case 'ConditionalExpression':
      return add(
        node,
        `${text(node.test)} ? ${text(node.alternate)} : ${text(node.consequent)}`,
        'the branches of "?:" are swapped',
      );
    case 'Literal':
      if (typeof node.value === 'boolean')
        return add(node, String(!node.value), `${node.value} becomes ${!node.value}`);
      if (typeof node.value !== 'number') return;
      return add(node, String(node.value + 1), `${node.raw} becomes ${node.value + 1}`);
    case 'ThrowStatement':
      return add(node, ';', 'the error is not thrown');
    case 'ExpressionStatement':
      return node.expression.type === 'CallExpression' ||
        (node.expression.type === 'AwaitExpression' && node.expression.argument.type === 'CallExpression')
        ? add(node, ';', 'the call is dropped')
        : undefined;
    case 'MemberExpression': {
      // The walker does not visit the name of a property by itself.
      const { property, computed } = node;
      if (computed || property.type !== 'Identifier') return;
      const other = Object.hasOwn(METHODS, property.name) ? METHODS[property.name] : undefined;
      if (other !== undefined) add(property, other, `"${property.name}" becomes "${other}"`);
      return;
    }
    case 'ObjectExpression':
    case 'ArrayExpression': {
      const parts = node.type === 'ObjectExpression' ? node.properties : node.elements;
      for (const [index, part] of parts.entries()) {
        const next = parts[index + 1];
        if (part) add(part, '', 'the entry is dropped', part.start, next ? next.start : part.end);
      }
      return;
    }
    default:
  }
}

/** Whether a node is part of an error or of a text: their words are not behaviour. */
function isWords(above: readonly AnyNode[]): boolean {
  return above.some(
    ({ type }) => type === 'ImportDeclaration' || type === 'ThrowStatement' || type === 'TemplateLiteral',
  );
}

/** Whether a node is the value of a constant such as `MAX_BYTES`: a test that imports it cannot notice another value. */
function isTuning(program: Program, above: readonly AnyNode[]): boolean {
  const declarator = above.find(({ type }) => type === 'VariableDeclarator');
  if (declarator?.type !== 'VariableDeclarator' || declarator.id.type !== 'Identifier') return false;
  return (
    /^[A-Z][A-Z\d_]*$/.test(declarator.id.name) &&
    program.body.some(({ start, end }) => start <= declarator.start && declarator.end <= end) &&
    above.every(({ type }) => !/Function|Method|Class/.test(type))
  );
}

/**
 * Whether a node is in a statement that calls a log or a trace, such as `this.#log.warn({ err }, 'gone')`: what these tell
 * has tests of its own, in other folders than what they tell of.
 */
function isTelling(above: readonly AnyNode[]): boolean {
  const statement = above.findLast(({ type }) => /Statement$|Declaration$|Function/.test(type));
  if (statement?.type !== 'ExpressionStatement') return false;
  const { expression } = statement;
  let callee: AnyNode = expression.type === 'ChainExpression' ? expression.expression : expression;
  if (callee.type !== 'CallExpression') return false;
  callee = callee.callee;
  while (callee.type === 'MemberExpression') {
    const object: AnyNode = callee.object;
    const name = object.type === 'MemberExpression' ? object.property : object;
    if ((name.type === 'Identifier' || name.type === 'PrivateIdentifier') && TELLERS.has(name.name))
      return true;
    callee = object;
  }
  return false;
}

const TELLERS = new Set(['log', 'trace', 'span']);

/** Whether a "+" with this operand joins text. */
function isText(node: AnyNode): boolean {
  if (node.type === 'TemplateLiteral') return true;
  if (node.type === 'Literal') return typeof node.value === 'string';
  return node.type === 'BinaryExpression' && node.operator === '+' && [node.left, node.right].some(isText);
}
