// Files that the bundler brings in as text.
declare module "*.py" {
  const text: string;
  export default text;
}
