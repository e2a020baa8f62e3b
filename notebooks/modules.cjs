// Loads modules of the repository, which are ES modules in TypeScript, for notebooks, which tslab compiles to CommonJS.
let loader;

/** @param path from the root of the repository, such as 'experts/dispatch/plan.ts' */
module.exports = async path => {
  loader ??= import('tsx/esm/api').then(({ register }) => register());
  await loader;
  return import(`../${path}`);
};
