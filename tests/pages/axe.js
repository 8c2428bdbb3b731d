// Looks for barriers in pages with axe-core in headless Chromium, without any network: light and dark, wide and
// narrow. Not part of the suites, because it needs npm:
//
//   npm install --prefix /tmp/axe axe-core playwright-core
//   NODE_PATH=/tmp/axe/node_modules node tests/pages/axe.js report.html...
//
// Ends with 1 if axe finds a violation of any weight, a page is wider than its window, or asks for anything.
const fs = require("fs");
const path = require("path");
const { chromium } = require("playwright-core");

const SIZES = [{ width: 1280, height: 800 }, { width: 390, height: 844 }];
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

async function look(browser, file, colorScheme, viewport) {
  const context = await browser.newContext({ offline: true, colorScheme, viewport });
  const page = await context.newPage();
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.goto(`file://${path.resolve(file)}`);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  await context.close();
  const found = violations.map((one) => `${one.impact} ${one.id}: ${one.nodes[0].html.slice(0, 120)}`);
  if (wider > 0) found.push(`${wider} px wider than the window`);
  if (asked.length > 1) found.push(`asks for ${asked.slice(1).join(", ")}`);
  console.log(`${file} ${colorScheme} ${viewport.width} px: ${passes.length} rules passed`, found);
  return found.length;
}

(async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
  let bad = 0;
  for (const file of process.argv.slice(2))
    for (const scheme of ["light", "dark"])
      for (const size of SIZES) bad += await look(browser, file, scheme, size);
  await browser.close();
  process.exit(bad ? 1 : 0);
})();
