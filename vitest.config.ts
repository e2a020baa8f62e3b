import { defineConfig } from 'vitest/config';

// Two projects: `fast` is the default loop; `slow` (files *.slow.test.ts) trains, kills and resumes. `npm test` runs both.
const shared = {
  setupFiles: ['tests/helpers/setup.ts'],
  pool: 'forks' as const,
  testTimeout: 60_000,
};
export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      { test: { ...shared, name: 'fast', include: ['tests/**/*.test.ts'], exclude: ['tests/**/*.slow.test.ts'] } },
      { test: { ...shared, name: 'slow', include: ['tests/**/*.slow.test.ts'], testTimeout: 600_000 } },
    ],
  },
});
