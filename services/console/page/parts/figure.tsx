/** A number under its name. */
export function Figure({
  name,
  value,
  title,
  bad = false,
}: {
  name: string;
  value: string | undefined;
  title?: string;
  bad?: boolean;
}) {
  return (
    <div title={title}>
      <dt>{name}</dt>
      <dd class={bad ? 'bad' : undefined}>{value ?? '–'}</dd>
    </div>
  );
}
