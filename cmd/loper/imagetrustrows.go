package main

import (
	"maps"
	"slices"
	"strings"

	"loper.run/image/trust"
)

// trustRows lists a policy as podman does, and the known signers below it.
func trustRows(p *trust.Policy, known []trust.Known) []trustRow {
	rows := []trustRow{}
	if p != nil {
		rows = append(rows, requirementRow("all", "default", p.Default))
		for _, transport := range slices.Sorted(maps.Keys(p.Transports)) {
			scopes := p.Transports[transport]
			shown := transport
			if transport == "docker" {
				shown = "repository"
			}
			for _, scope := range slices.Sorted(maps.Keys(scopes)) {
				name := scope
				if scope == "" {
					name = "default"
				}
				rows = append(rows, requirementRow(shown, name, scopes[scope]))
			}
		}
	}
	for _, k := range known {
		id := k.Fingerprint
		if id == "" {
			id = k.Subject + " (" + k.Issuer + ")"
		}
		rows = append(rows, trustRow{Transport: "repository", Name: k.Repository, Type: "knownSigner", ID: id})
	}
	return rows
}

func requirementRow(transport, name string, list []trust.Requirement) trustRow {
	row := trustRow{Transport: transport, Name: name}
	var types, ids []string
	for _, r := range list {
		kind := r.Type
		switch kind {
		case "insecureAcceptAnything":
			kind = "accept"
		case "signedBy":
			kind = "signed"
		}
		types, ids = append(types, kind), append(ids, r.Files()...)
	}
	row.Type, row.ID = strings.Join(types, ", "), strings.Join(ids, ", ")
	if transport == "repository" && name != "default" {
		if places, err := trust.PlacesOf(name); err == nil {
			row.Store = places.Lookaside
		}
	}
	return row
}
