// Package oci holds the types of the OCI image specification (and of Docker's
// schema 2, its twin) and reads them strictly: what comes from a registry is
// foreign until it has passed through here.
package oci
