#!/bin/sh
# Writes what a release is accompanied by, of the environment the CPU install makes:
#
#   launch/release.sh          dist/sbom.json (CycloneDX) and docs/licences.md
#
# Ends with status 1 if a package has a licence that is not among the permissive ones below.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/launch/setup.sh"
prepare_venv "${EHR_JAX_VENV:-$root/.venv}" baselines
tools=${EHR_JAX_TOOLS:-$root/.venv-tools}
prepare_tools "$tools"
cd "$root"
mkdir -p dist
"$tools/bin/cyclonedx-py" environment --of JSON -o dist/sbom.json "$python"
echo "dist/sbom.json: $(grep -c '"bom-ref"' dist/sbom.json) components"

# Permissive licences, and MPL-2.0, which binds changes of its own files alone.
allowed='Apache;BSD;MIT;ISC;PSF;Python Software Foundation;MPL;Mozilla;Zlib;CNRI;0BSD;Public-Domain'
"$tools/bin/pip-licenses" --python "$python" --from=mixed --partial-match --allow-only="$allowed" \
    >/dev/null || fail "a package has a licence that is not permissive (see above)."
{
    printf '# Licences of the packages that the CPU install brings\n\n'
    printf 'Made by `launch/release.sh` from the packages’ own descriptions.\n\n'
    # A package that gives its whole licence text in place of a name is told by the first line.
    "$tools/bin/pip-licenses" --python "$python" --from=mixed --format=json |
        "$python" -c 'import json, sys
rows = json.load(sys.stdin)
print("| package | version | licence |\n| --- | --- | --- |")
for row in sorted(rows, key=lambda row: row["Name"].lower()):
    licence = row["License"].strip().splitlines()[0].strip()
    print("| {} | {} | {} |".format(row["Name"], row["Version"], licence))'
} >docs/licences.md
echo "docs/licences.md: $(grep -c '^| [^-p]' docs/licences.md) packages"
